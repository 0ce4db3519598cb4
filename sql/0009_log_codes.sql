-- Failures by what they came to. They are few, or else they are no rows that are looked for one by one.
CREATE INDEX delivery_logs_codes ON delivery_logs (workspace_id, status_code, created_at, id) WHERE delivery_status <> 'success';
CREATE INDEX delivery_logs_errors ON delivery_logs (workspace_id, error_code, created_at, id) WHERE delivery_status <> 'success';
