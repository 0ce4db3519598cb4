-- Running totals of the log's days, by which a long time is totalled at once. Column by column: docs/tables.md; how they are
-- used: docs/logs.md. Not by day, since the newest day of a scope is looked for; old days are deleted.

CREATE TABLE log_totals (
    begins timestamptz NOT NULL,            -- the day
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,          -- nil: all of the workspace
    event_type text NOT NULL,
    delivery_status text NOT NULL,
    status_code smallint,
    error_code text,
    given_up boolean NOT NULL,
    test boolean NOT NULL,
    earlier bigint NOT NULL,                -- rows of the log that are so in earlier days of this month
    n bigint NOT NULL                       -- and on this day
);
CREATE INDEX ON log_totals (workspace_id, subscription_id, begins);
CREATE INDEX ON log_totals (begins);
