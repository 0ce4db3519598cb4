-- Deliveries that wait (delayed, batched), what is known of an endpoint's health, and work that goes on behind the API.
-- Column by column: docs/tables.md.

ALTER TABLE subscriptions
    ADD delay_ms bigint,                    -- delivery_mode delayed
    ADD batch_max_events integer,           -- delivery_mode batched: whichever comes first closes a batch
    ADD batch_max_bytes integer,
    ADD batch_max_wait_ms bigint,
    ADD filter text;                        -- JSON conditions on the event

-- kind: 0 an event, 1 a batch, 2 a closer: it stands for the batch that an endpoint's members fill, under the nil row key.
ALTER TABLE schedule
    ADD replay boolean NOT NULL DEFAULT false,
    ADD members integer,                    -- a closer's: how many wait, and how large they are
    ADD member_bytes bigint;
ALTER TABLE schedule ALTER body SET STORAGE EXTERNAL;

-- Events that wait for their batch. What a closer stands for.
CREATE TABLE batch_members (
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    event_key uuid NOT NULL,
    activation bigint NOT NULL,
    arrived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic text NOT NULL,
    part integer NOT NULL,
    record_offset bigint NOT NULL,
    bytes integer NOT NULL,                 -- the size of the record's value
    record bytea NOT NULL,                  -- as batch_record makes it
    PRIMARY KEY (workspace_id, subscription_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE batch_members ALTER record SET STORAGE EXTERNAL;

-- Which events a batch holds, for the log.
CREATE TABLE batches (
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    event_keys uuid[] NOT NULL              -- in the batch's order
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE batches IS 'by day: log';
CREATE INDEX ON batches (workspace_id, id);

-- One event among a batch's bytes: lengths and numbers in network order, -1 for the length of what is null.
CREATE FUNCTION batch_record(topic text, part integer, record_offset bigint, record_time timestamptz, record_key bytea,
    headers text, body bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT int4send(octet_length(topic)) || convert_to(topic, 'UTF8') || int4send(part) || int8send(record_offset)
        || int8send((extract(epoch FROM record_time) * 1000)::bigint)
        || int4send(coalesce(octet_length(record_key), -1)) || coalesce(record_key, '')
        || int4send(octet_length(headers)) || convert_to(headers, 'UTF8') || int4send(octet_length(body)) || body
$$;

CREATE FUNCTION schedule_bucket(workspace_id text, subscription_id uuid) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (get_byte(sha256(convert_to(workspace_id, 'UTF8') || '\x00'::bytea || convert_to(subscription_id::text, 'UTF8')), 0)
        % 16)::smallint
$$;

-- What the endpoints' answers say over days, merged from all processes. Written at most once a minute and endpoint.
CREATE TABLE health (
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    failing_since timestamptz,              -- the first failure after the last success; null: the last attempt succeeded
    warned_at timestamptz,                  -- .failing was told, and .recovered was not
    revived_at timestamptz,                 -- when the subscription became active again: what failed before doesn't count
    PRIMARY KEY (workspace_id, subscription_id)
) WITH (fillfactor = 50);

CREATE FUNCTION subscription_revived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE health SET failing_since = NULL, revived_at = clock_timestamp()
    WHERE workspace_id = NEW.workspace_id AND subscription_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER subscription_revived AFTER UPDATE OF status ON subscriptions FOR EACH ROW
    WHEN (NEW.status = 'active' AND OLD.status <> 'active') EXECUTE FUNCTION subscription_revived();

-- Operational events on their way to who subscribes to them.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    workspace_id text NOT NULL,
    event_type text NOT NULL,
    payload jsonb NOT NULL
);

-- Mail that has not been sent yet.
CREATE TABLE mails (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    workspace_id text NOT NULL,
    recipient text NOT NULL,
    kind text NOT NULL,                     -- which text
    about jsonb NOT NULL,                   -- and what it speaks of
    attempt smallint NOT NULL DEFAULT 1,    -- the next one's number
    due_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz
);
CREATE INDEX ON mails (due_at);

-- Tells of a subscription: an operational event to its workspace, and a mail where it has an address for that.
CREATE FUNCTION subscription_tell(s subscriptions, what text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    h health;
    about jsonb;
BEGIN
    SELECT * INTO h FROM health x WHERE x.workspace_id = s.workspace_id AND x.subscription_id = s.id;
    about := jsonb_build_object('subscription_id', s.id, 'name', s.name, 'webhook_url', s.webhook_url, 'status', s.status,
        'disabled_reason', s.disabled_reason,
        'failing_since', (extract(epoch FROM h.failing_since) * 1000)::bigint,
        'last_success_at', (extract(epoch FROM h.last_success_at) * 1000)::bigint);
    INSERT INTO outbox (workspace_id, event_type, payload) VALUES (s.workspace_id, 'hookcast.subscription.' || what, about);
    IF s.notify_email IS NOT NULL THEN
        INSERT INTO mails (workspace_id, recipient, kind, about) VALUES (s.workspace_id, s.notify_email, 'subscription.' || what, about);
    END IF;
END $$;

CREATE FUNCTION subscription_disabled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM subscription_tell(NEW, 'disabled');
    RETURN NULL;
END $$;
CREATE TRIGGER subscription_disabled AFTER UPDATE OF status ON subscriptions FOR EACH ROW
    WHEN (NEW.status = 'disabled' AND OLD.status = 'active') EXECUTE FUNCTION subscription_disabled();

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('hookcast', 'hookcast.subscription.failing', 1, 'A subscription has failed for half of the time after which it is disabled',
     '{"subscription_id": "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e", "name": null, "webhook_url": "https://example.com/hook", "status":
      "active", "disabled_reason": null, "failing_since": 1760000000000, "last_success_at": 1759999000000}'),
    ('hookcast', 'hookcast.subscription.disabled', 2, 'A subscription was disabled',
     '{"subscription_id": "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e", "name": null, "webhook_url": "https://example.com/hook", "status":
      "disabled", "disabled_reason": "the endpoint answered 410 Gone", "failing_since": 1760000000000, "last_success_at":
      1759999000000}'),
    ('hookcast', 'hookcast.subscription.recovered', 3, 'A subscription that had failed for long has succeeded',
     '{"subscription_id": "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e", "name": null, "webhook_url": "https://example.com/hook", "status":
      "active", "disabled_reason": null, "failing_since": null, "last_success_at": 1760400000000}');

-- Work behind the API: deliveries sent again.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    workspace_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('recover', 'replay')),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'counting', 'running', 'done', 'failed', 'cancelled')),
    subscription_id uuid,                   -- the only one that it is about; null: whichever the log names
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,             -- not included
    request jsonb NOT NULL,                 -- what else was asked for
    position jsonb,                         -- how far it has come; null: at the beginning
    total bigint,                           -- null: not counted yet
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    owner uuid,
    lease_until timestamptz,
    next_at timestamptz NOT NULL DEFAULT now(), -- left alone until then
    tries smallint NOT NULL DEFAULT 0       -- failures of its next step
);
CREATE INDEX ON jobs (workspace_id, created_at, id);
CREATE INDEX jobs_open ON jobs (next_at) WHERE state IN ('waiting', 'counting', 'running');
CREATE UNIQUE INDEX jobs_recover ON jobs (workspace_id, subscription_id)
    WHERE kind = 'recover' AND state IN ('waiting', 'counting', 'running');

-- What recover looks for: what came to nothing, and the few events that somebody missed. (As text, so that no plan takes the index
-- of all rows of a subscription for it.)
CREATE INDEX delivery_logs_lost ON delivery_logs ((subscription_id::text), created_at, id)
    WHERE given_up OR delivery_status = 'cancelled';
CREATE INDEX events_skipped ON events (workspace_id, created_at, event_key) WHERE skipped IS NOT NULL;

-- The row key of a delivery that is sent again: the same for the same purpose and scope, so that it can't wait twice. A uuid of
-- version 8 (RFC 9562).
CREATE FUNCTION resend_key(purpose text, scope uuid, event_key uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT overlay(overlay(substr(encode(sha256(convert_to(purpose, 'UTF8') || uuid_send(scope) || uuid_send(event_key)), 'hex'), 1, 32)
        PLACING '8' FROM 13) PLACING '8' FROM 17)::uuid
$$;

CREATE OR REPLACE VIEW endpoint_health AS
SELECT s.workspace_id,
       s.id AS subscription_id,
       s.webhook_url,
       s.status,
       s.disabled_reason,
       q.since AS held_since,
       (SELECT count(*) FROM schedule r WHERE r.workspace_id = s.workspace_id AND r.subscription_id = s.id) AS waiting,
       l.attempts AS attempts_last_hour,
       l.failed AS failed_last_hour,
       h.last_success_at,
       h.failing_since
FROM subscriptions s
LEFT JOIN holds q ON q.workspace_id = s.workspace_id AND q.subscription_id = s.id
LEFT JOIN health h ON h.workspace_id = s.workspace_id AND h.subscription_id = s.id
LEFT JOIN LATERAL (
    SELECT count(*) AS attempts,
           count(*) FILTER (WHERE d.delivery_status = 'failed') AS failed
    FROM delivery_logs d
    WHERE d.subscription_id = s.id AND d.created_at > now() - interval '1 hour' AND NOT d.test
) l ON true
WHERE s.status <> 'deleted';

-- A row for each event of a batch.
CREATE OR REPLACE VIEW delivery_log_details AS
SELECT d.*, e.occurred_at, e.topic, e.part, e.record_offset, e.body AS event_body, m.event_key AS member_key, m.n AS member_position
FROM delivery_logs d
LEFT JOIN LATERAL (
    SELECT k.event_key, k.n FROM batches b CROSS JOIN LATERAL unnest(b.event_keys) WITH ORDINALITY k(event_key, n)
    WHERE b.workspace_id = d.workspace_id AND b.id = d.batch_id
) m ON true
LEFT JOIN LATERAL (
    SELECT * FROM events e WHERE e.workspace_id = d.workspace_id AND e.event_key = coalesce(m.event_key, d.event_key) LIMIT 1
) e ON true;
