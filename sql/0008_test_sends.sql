-- Webhooks that are sent as a test, and what the catalogue knows of a workspace's own types.

-- When a workspace made its tests of the last minute.
CREATE TABLE test_limits (
    workspace_id text PRIMARY KEY,
    sent timestamptz[] NOT NULL
) WITH (fillfactor = 50);

-- The bodies of tests: no event stands behind their rows of the log.
CREATE TABLE test_bodies (
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,                       -- the log row's
    workspace_id text NOT NULL,
    body bytea NOT NULL
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE test_bodies IS 'by day: payload';
CREATE INDEX ON test_bodies (workspace_id, id);

-- As many days as events have.
DO $$
DECLARE
    day record;
    name text;
BEGIN
    FOR day IN SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'events'::regclass AND NOT i.inhdetachpending
    LOOP
        name := 'test_bodies_' || substr(day.relname, length('events_') + 1);
        EXECUTE format('CREATE TABLE %I PARTITION OF test_bodies %s', name, day.bound);
    END LOOP;
END $$;

-- The subscription that Seleqt's one URL of a workspace stands for.
CREATE TABLE seleqt_webhooks (
    workspace_id text PRIMARY KEY,
    subscription_id uuid                    -- null: cleared
);

ALTER TABLE event_types
    ADD first_seen_at timestamptz,          -- in Kafka
    ADD last_seen_at timestamptz,
    ADD sample text;                        -- the payload of the first event that was seen, as it was written
