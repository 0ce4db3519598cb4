-- What came to nothing in a workspace, and what was cancelled there.
CREATE INDEX delivery_logs_given_up ON delivery_logs (workspace_id, created_at, id) WHERE given_up;
CREATE INDEX delivery_logs_cancelled ON delivery_logs (workspace_id, created_at, id) WHERE delivery_status = 'cancelled';
