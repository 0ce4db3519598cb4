-- What was answered to a request that carried a key of the client's own, so that the same request may come again.

CREATE TABLE idempotency_keys (
    workspace_id text NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,               -- SHA-256
    owner uuid NOT NULL,                    -- the request that is on it, or was
    lease_until timestamptz NOT NULL,       -- how long it may be on it
    status smallint,                        -- null: not answered yet
    answer text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (workspace_id, key)
) WITH (fillfactor = 70);
CREATE INDEX ON idempotency_keys (created_at);
