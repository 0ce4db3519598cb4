-- Running totals of the log's hours and days, by which a long time is totalled at once. Column by column: docs/tables.md; how
-- they are used: docs/logs.md. Not by day, since the newest ones of a scope are looked for; old ones are deleted.

CREATE TABLE log_totals (
    level smallint NOT NULL,                -- as in log_rollup_state: 3 hours, 4 days
    begins timestamptz NOT NULL,            -- the hour, or the day
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,          -- nil: all of the workspace
    event_type text NOT NULL,
    delivery_status text NOT NULL,
    status_code smallint,
    error_code text,
    given_up boolean NOT NULL,
    test boolean NOT NULL,
    earlier bigint NOT NULL,                -- rows of the log that are so in earlier hours of the day, or days of the month
    n bigint NOT NULL                       -- and in this one
);
CREATE INDEX ON log_totals (workspace_id, subscription_id, level, begins);
CREATE INDEX ON log_totals (level, begins);
