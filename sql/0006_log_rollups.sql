-- Counts of the log, by which it is totalled and paged. Column by column: docs/tables.md; how they are made: docs/logs.md.

CREATE TABLE log_rollups (
    level smallint NOT NULL,                -- 0 minutes, 1 hours, 2 days
    begins timestamptz NOT NULL,
    workspace_id text NOT NULL,
    subscription_id uuid,                   -- null: all of the workspace
    event_type text NOT NULL,
    delivery_status text NOT NULL,
    status_code smallint,
    error_code text,
    given_up boolean NOT NULL,
    test boolean NOT NULL,
    n bigint NOT NULL,                      -- rows of the log that are so
    first_time bigint NOT NULL,             -- of them, delivered at the first attempt
    after_retry bigint NOT NULL,            -- and at a later one
    duration_ms bigint NOT NULL,            -- their durations' sum
    latency bigint[]                        -- and how these are spread: log_duration_class << 40 | how many
) PARTITION BY RANGE (begins);
COMMENT ON TABLE log_rollups IS 'by day: log';
CREATE INDEX ON log_rollups (workspace_id, subscription_id, level, begins);
CREATE INDEX ON log_rollups (level, begins);

-- Until when (not included) each level is complete. Without rows: nothing is.
CREATE TABLE log_rollup_state (
    level smallint PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 20);

-- Four classes to a doubling: the upper bound of class c is 2 ^ ((c + 1) / 4) - 1 ms.
CREATE FUNCTION log_duration_class(ms integer) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT floor(ln(greatest(ms, 0)::float8 + 1) / ln(2::float8) * 4 + 1e-9)::bigint
$$;

-- The partition for a day of the log that has none here yet: those of past days, which nobody else makes.
CREATE FUNCTION log_rollups_add_day(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lower timestamptz := date_trunc('day', moment, 'UTC');
    upper timestamptz := lower + interval '24 hours';
    name text := to_char(lower AT TIME ZONE 'UTC', '"log_rollups_"YYYYMMDD');
BEGIN
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE log_rollups INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE log_rollups ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
    END IF;
END $$;

-- As many days as the log has.
SELECT log_rollups_add_day(split_part(pg_get_expr(c.relpartbound, c.oid), '''', 2)::timestamptz)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'delivery_logs'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE 'FOR VALUES FROM (''%';

-- Its rows come in this order, so that a minute of all workspaces is found for next to nothing.
CREATE INDEX delivery_logs_time ON delivery_logs USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX delivery_logs_tests ON delivery_logs (workspace_id, created_at, id) WHERE test;
