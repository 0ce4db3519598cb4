-- Who changed what, workspaces that are being erased, and rejected events that were sent again. Column by column: docs/tables.md.

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    workspace_id text,                      -- null: of no workspace
    key_id uuid NOT NULL,
    request_id text,
    action text NOT NULL,                   -- subscription.created, key.revoked, …
    target text NOT NULL,                   -- the id of what was changed
    before jsonb,
    after jsonb
);
CREATE INDEX ON audit (workspace_id, id);
CREATE INDEX ON audit (created_at);

-- Writes a row for the key on whose behalf the session works (hookcast.key, hookcast.request); for nobody, none.
CREATE FUNCTION audit_note(workspace_id text, action text, target text, before jsonb, after jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO audit (workspace_id, key_id, request_id, action, target, before, after)
    SELECT workspace_id, k.key::uuid, nullif(current_setting('hookcast.request', true), ''), action, target, before, after
    FROM nullif(current_setting('hookcast.key', true), '') AS k (key) WHERE k.key IS NOT NULL
$$;

-- A row without what serves the processes alone. What is secret shows whether it has changed, and nothing else.
CREATE FUNCTION audit_view(r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT (r - '{xid,render_version,activation,version,updated_at,deleted_at,key_hash,owner,lease_until,position,next_at,tries,
        total,done,failed,started_at,sample}'::text[])
        || CASE WHEN r ->> 'headers' IS NULL THEN '{}' ELSE jsonb_build_object('headers', '*** ' || left(md5(r ->> 'headers'), 8)) END
        || CASE WHEN r ->> 'secrets' IS NULL THEN '{}' ELSE jsonb_build_object('secrets', '*** ' || left(md5(r ->> 'secrets'), 8)) END
$$;

-- Its argument is what the table holds.
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN audit_view(to_jsonb(OLD)) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN audit_view(to_jsonb(NEW)) END;
    r jsonb := coalesce(after, before);
    what text := CASE
        WHEN TG_OP = 'INSERT' THEN 'created'
        WHEN TG_OP = 'DELETE' OR after ->> 'status' = 'deleted' THEN 'deleted'
        WHEN before ->> 'archived_at' IS NULL AND after ->> 'archived_at' IS NOT NULL THEN 'archived'
        WHEN before ->> 'erased_at' IS NULL AND after ->> 'erased_at' IS NOT NULL THEN 'erased'
        WHEN before ->> 'revoked_at' IS NULL AND after ->> 'revoked_at' IS NOT NULL THEN 'revoked'
        WHEN before ->> 'state' <> 'cancelled' AND after ->> 'state' = 'cancelled' THEN 'cancelled'
        WHEN before - 'secrets' = after - 'secrets' THEN 'secret_changed'
        ELSE 'changed' END;
BEGIN
    IF before IS DISTINCT FROM after THEN
        PERFORM audit_note(CASE WHEN TG_ARGV[0] = 'workspace' THEN r ->> 'id' ELSE r ->> 'workspace_id' END,
            TG_ARGV[0] || '.' || what, CASE WHEN TG_ARGV[0] = 'event_type' THEN r ->> 'event_type' ELSE r ->> 'id' END, before, after);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON subscriptions FOR EACH ROW
    WHEN (current_setting('hookcast.key', true) <> '') EXECUTE FUNCTION audited('subscription');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON api_keys FOR EACH ROW
    WHEN (current_setting('hookcast.key', true) <> '') EXECUTE FUNCTION audited('key');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON workspaces FOR EACH ROW
    WHEN (current_setting('hookcast.key', true) <> '') EXECUTE FUNCTION audited('workspace');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON event_types FOR EACH ROW
    WHEN (current_setting('hookcast.key', true) <> '') EXECUTE FUNCTION audited('event_type');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW
    WHEN (current_setting('hookcast.key', true) <> '') EXECUTE FUNCTION audited('job');

-- A workspace that is to go: nobody sees it any more, and what it has goes piece by piece.
ALTER TABLE workspaces ADD erased_at timestamptz;
CREATE INDEX workspaces_erased ON workspaces (erased_at) WHERE erased_at IS NOT NULL;
CREATE INDEX ON render_versions (workspace_id);

ALTER TABLE rejected_events ADD republished_at timestamptz;
CREATE INDEX ON rejected_events (workspace_id, created_at, id);
CREATE INDEX ON rejected_events (id);

-- One piece: up to about `most` rows of what a workspace has, in every table that names one, go. How many went. Its subscriptions
-- stay a day as deleted ones, so that every process sees them go, but without anything that was theirs; of the audit stays what
-- happened to the workspace itself.
CREATE FUNCTION workspace_erase(workspace text, most integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    part record;
    gone bigint;
    n bigint;
BEGIN
    UPDATE subscriptions SET status = 'deleted', deleted_at = coalesce(deleted_at, now()), webhook_url = '', name = NULL,
        headers = NULL, secrets = NULL, notify_email = NULL, payload_format = 'seanotify', payload_template = NULL, filter = NULL,
        created_by = NULL, updated_by = NULL, disabled_reason = NULL
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM subscriptions WHERE workspace_id = workspace
        AND (status <> 'deleted' OR webhook_url <> '') LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    FOR part IN SELECT c.oid::regclass AS name FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped
        WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'workspaces'::regclass)
            AND c.relname <> 'subscriptions'
        ORDER BY c.relname
    LOOP
        CONTINUE WHEN gone >= most;
        BEGIN
            EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s WHERE workspace_id = $1 %2$s LIMIT $2))',
                part.name, CASE WHEN part.name = 'audit'::regclass THEN 'AND action NOT LIKE ''workspace.%''' ELSE '' END)
                USING workspace, most - gone;
            GET DIAGNOSTICS n = ROW_COUNT;
            gone := gone + n;
        EXCEPTION WHEN undefined_table THEN
            NULL;                           -- a day that was dropped meanwhile
        END;
    END LOOP;
    RETURN gone;
END $$;
