-- The schema of hookcast. Column by column: docs/tables.md.
--
-- Keys begin with the workspace, so that logs and events can be distributed by it one day. Tables that are filled by COPY have no
-- unique index, because one duplicate would abort the whole COPY.

CREATE TABLE workspaces (
    id text PRIMARY KEY,
    name text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    workspace_id text,                      -- null: an admin key
    name text NOT NULL DEFAULT '',
    key_hash bytea NOT NULL UNIQUE,         -- SHA-256; the key itself is shown once and kept nowhere
    read_only boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX ON api_keys (workspace_id);

CREATE TABLE event_types (
    workspace_id text NOT NULL DEFAULT '',  -- '': known to every workspace
    dialect text NOT NULL DEFAULT 'seanotify',
    event_type text NOT NULL,
    position integer NOT NULL DEFAULT 0,    -- order within the dialect's document
    description text NOT NULL DEFAULT '',
    example jsonb,
    schema jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    PRIMARY KEY (workspace_id, dialect, event_type)
);

-- Everything that enters a body, in immutable versions: rendering an event again with its version gives the bytes that were sent.
CREATE TABLE render_versions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    payload_format text NOT NULL,
    payload_template text,
    signature_style text NOT NULL,
    created_by text,
    updated_by text,
    workspace_name text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE subscriptions (
    workspace_id text NOT NULL,
    id uuid NOT NULL,
    webhook_url text NOT NULL,
    event_types text[] NOT NULL,
    type text NOT NULL DEFAULT 'SEASALT' CHECK (type IN ('SEASALT', 'ZAPIER')),
    name text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled', 'deleted')),
    disabled_reason text,
    delivery_mode text NOT NULL DEFAULT 'immediate' CHECK (delivery_mode IN ('immediate', 'delayed', 'batched')),
    headers bytea,                          -- sealed
    secrets bytea,                          -- sealed
    signature_style text NOT NULL DEFAULT 'standard' CHECK (signature_style IN ('standard', 'hex', 'both', 'none')),
    signature_header text,
    payload_format text NOT NULL DEFAULT 'seanotify',
    payload_template text,
    timeout_ms integer,
    retry_schedule_ms bigint[],
    max_in_flight integer,
    rate_limit_per_second integer,
    notify_email text,
    created_by text,
    updated_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    render_version bigint NOT NULL,
    activation bigint NOT NULL DEFAULT 1,   -- grows each time it becomes active
    version bigint NOT NULL DEFAULT 1,      -- grows with every change
    xid xid8 NOT NULL,                      -- the transaction that wrote it: what the watcher reads by
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ON subscriptions (xid);
CREATE INDEX ON subscriptions (workspace_id, created_at);

CREATE FUNCTION subscription_written() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known_name text;
BEGIN
    NEW.xid := pg_current_xact_id();
    IF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
        NEW.activation := OLD.activation + CASE WHEN NEW.status = 'active' AND OLD.status <> 'active' THEN 1 ELSE 0 END;
    END IF;
    SELECT w.name INTO known_name FROM workspaces w WHERE w.id = NEW.workspace_id;
    IF TG_OP = 'INSERT' OR NOT EXISTS (
        SELECT FROM render_versions r WHERE r.id = OLD.render_version
        AND (r.payload_format, r.signature_style) = (NEW.payload_format, NEW.signature_style)
        AND r.payload_template IS NOT DISTINCT FROM NEW.payload_template
        AND r.created_by IS NOT DISTINCT FROM NEW.created_by
        AND r.updated_by IS NOT DISTINCT FROM NEW.updated_by
        AND r.workspace_name IS NOT DISTINCT FROM known_name)
    THEN
        INSERT INTO render_versions
            (workspace_id, subscription_id, payload_format, payload_template, signature_style, created_by, updated_by, workspace_name)
        VALUES (NEW.workspace_id, NEW.id, NEW.payload_format, NEW.payload_template, NEW.signature_style,
            NEW.created_by, NEW.updated_by, known_name)
        RETURNING id INTO NEW.render_version;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER subscription_written BEFORE INSERT OR UPDATE ON subscriptions
    FOR EACH ROW EXECUTE FUNCTION subscription_written();

CREATE FUNCTION subscriptions_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hookcast_subscriptions', '');
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_changed AFTER INSERT OR UPDATE OR DELETE ON subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION subscriptions_changed();

-- A workspace's name is part of what its subscriptions send.
CREATE FUNCTION workspace_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE subscriptions SET workspace_id = workspace_id WHERE workspace_id = NEW.id AND status <> 'deleted';
    RETURN NULL;
END $$;
CREATE TRIGGER workspace_renamed AFTER INSERT OR UPDATE OF name ON workspaces
    FOR EACH ROW EXECUTE FUNCTION workspace_renamed();

-- What of each Kafka partition is settled: a prefix, and a bitmap beyond it.
CREATE TABLE progress (
    grp text NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    lineage uuid NOT NULL,
    first_offset bigint NOT NULL,           -- where the lineage began
    epoch bigint NOT NULL,                  -- raised by each new owner
    next_offset bigint NOT NULL,
    last_key uuid,                          -- event_key of the record before next_offset
    done bytea NOT NULL DEFAULT '',
    reread_before bigint,                   -- records before it may have been settled already: looked up in events
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (grp, topic, part)
) WITH (fillfactor = 30);

CREATE TABLE processes (
    id uuid PRIMARY KEY,
    grp text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    flush_no bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 30);

-- Everything that is due after now: retries, parked first attempts, delays. A row carries the record's own bytes.
CREATE TABLE schedule (
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    row_key uuid NOT NULL,                  -- the event's key; a new one for what is sent again on request
    event_key uuid NOT NULL,
    bucket smallint NOT NULL,
    kind smallint NOT NULL DEFAULT 0,
    attempt smallint NOT NULL,              -- the next one's number
    activation bigint NOT NULL,
    fence integer NOT NULL DEFAULT 0,
    held boolean NOT NULL DEFAULT false,
    due_at timestamptz NOT NULL,
    lease_until timestamptz,
    topic text NOT NULL,
    part integer NOT NULL,
    record_offset bigint NOT NULL,
    record_time timestamptz NOT NULL,
    record_key bytea,
    headers text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (workspace_id, subscription_id, row_key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX schedule_due ON schedule (bucket, due_at) WHERE NOT held;
CREATE INDEX schedule_held ON schedule (workspace_id, subscription_id, due_at) WHERE held;

-- Endpoints whose rows wait in a queue of their own; one process at a time drains each.
CREATE TABLE holds (
    workspace_id text NOT NULL,
    subscription_id uuid NOT NULL,
    owner uuid,
    lease_until timestamptz,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, subscription_id)
) WITH (fillfactor = 60, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE events (
    created_at timestamptz NOT NULL,
    event_key uuid NOT NULL,
    workspace_id text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    occurred_at timestamptz NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    record_offset bigint NOT NULL,
    record_time timestamptz NOT NULL,
    record_key bytea,
    headers text NOT NULL,
    body bytea NOT NULL,
    skipped uuid[]                          -- subscriptions that matched while paused or disabled
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE events IS 'by day: payload';
CREATE INDEX ON events (workspace_id, event_key);
CREATE INDEX ON events (workspace_id, event_id);

CREATE TABLE delivery_logs (
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,
    workspace_id text NOT NULL,
    event_key uuid NOT NULL,
    event_id text NOT NULL,
    subscription_id uuid NOT NULL,
    event_type text NOT NULL,
    webhook_url text NOT NULL,
    delivery_status text NOT NULL,          -- success, failed, cancelled
    status_code smallint,
    response_body text,
    error text,
    error_code text,
    attempt smallint NOT NULL,
    duration_ms integer,
    next_attempt_at timestamptz,
    given_up boolean NOT NULL DEFAULT false,
    batch_id uuid,
    render_version bigint,
    sent_at timestamptz,
    replay boolean NOT NULL DEFAULT false,
    test boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE delivery_logs IS 'by day: log';
CREATE INDEX ON delivery_logs (workspace_id, created_at, id);
CREATE INDEX ON delivery_logs (subscription_id, created_at, id);
CREATE INDEX ON delivery_logs (workspace_id, event_id, created_at);
CREATE INDEX ON delivery_logs (workspace_id, created_at) WHERE delivery_status <> 'success';

CREATE TABLE rejected_events (
    created_at timestamptz NOT NULL,
    id uuid NOT NULL,                       -- the event key of the record
    workspace_id text,
    code text NOT NULL,
    reason text NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    record_offset bigint NOT NULL,
    record_time timestamptz NOT NULL,
    record_key bytea,
    headers text NOT NULL,
    body bytea
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE rejected_events IS 'by day: payload';
CREATE INDEX ON rejected_events (created_at, id);
