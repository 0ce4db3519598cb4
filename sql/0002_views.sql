-- Views for dashboards. Column by column: docs/tables.md.

CREATE VIEW delivery_stats_minutely AS
SELECT workspace_id,
       subscription_id,
       event_type,
       date_trunc('minute', created_at) AS minute,
       count(*) AS attempts,
       count(*) FILTER (WHERE delivery_status = 'success') AS delivered,
       count(*) FILTER (WHERE delivery_status = 'success' AND attempt = 1) AS delivered_first_time,
       count(*) FILTER (WHERE delivery_status = 'failed') AS failed,
       count(*) FILTER (WHERE given_up) AS given_up,
       avg(duration_ms) AS average_duration_ms,
       max(duration_ms) AS longest_duration_ms
FROM delivery_logs
WHERE NOT test
GROUP BY workspace_id, subscription_id, event_type, date_trunc('minute', created_at);

CREATE VIEW endpoint_health AS
SELECT s.workspace_id,
       s.id AS subscription_id,
       s.webhook_url,
       s.status,
       s.disabled_reason,
       h.since AS held_since,
       (SELECT count(*) FROM schedule q WHERE q.workspace_id = s.workspace_id AND q.subscription_id = s.id) AS waiting,
       l.attempts AS attempts_last_hour,
       l.failed AS failed_last_hour,
       l.last_success_at
FROM subscriptions s
LEFT JOIN holds h ON h.workspace_id = s.workspace_id AND h.subscription_id = s.id
LEFT JOIN LATERAL (
    SELECT count(*) AS attempts,
           count(*) FILTER (WHERE d.delivery_status = 'failed') AS failed,
           max(d.created_at) FILTER (WHERE d.delivery_status = 'success') AS last_success_at
    FROM delivery_logs d
    WHERE d.subscription_id = s.id AND d.created_at > now() - interval '1 hour' AND NOT d.test
) l ON true
WHERE s.status <> 'deleted';

CREATE VIEW delivery_log_details AS
SELECT d.*, e.occurred_at, e.topic, e.part, e.record_offset, e.body AS event_body
FROM delivery_logs d
LEFT JOIN LATERAL (
    SELECT * FROM events e WHERE e.workspace_id = d.workspace_id AND e.event_key = d.event_key LIMIT 1
) e ON true;
