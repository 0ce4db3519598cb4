-- What else holds something of an event, so that it goes when the event is erased: the bodies of tests that were made of an event
-- type's sample, and answers that come in after the erasure.

ALTER TABLE test_bodies ADD source_event uuid;  -- whose payload it was made of; null: of no event's
CREATE INDEX test_bodies_source ON test_bodies (workspace_id, source_event) WHERE source_event IS NOT NULL;

-- Takes away the bodies of tests that were made of the event, and what was answered to them. How many bodies went.
CREATE FUNCTION event_tests_erase(workspace text, event uuid) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    n bigint;
BEGIN
    WITH gone AS (DELETE FROM test_bodies WHERE workspace_id = workspace AND source_event = event RETURNING created_at, id),
    silenced AS (UPDATE delivery_logs d SET response_body = NULL FROM gone g
        WHERE d.workspace_id = workspace AND d.created_at = g.created_at AND d.id = g.id AND d.response_body IS NOT NULL)
    SELECT count(*) INTO n FROM gone;
    RETURN n;
END $$;

-- Whoever writes down a test shares the lock of the type's row while the sample stands (store/test_sends.c): what he wrote is seen
-- once the first statement has waited for him. How many samples and bodies went.
CREATE FUNCTION event_copies_erase(workspace text, event uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    UPDATE event_types SET sample = NULL, sample_event = NULL WHERE workspace_id = workspace AND sample_event = event;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n + event_tests_erase(workspace, event);
END $$;

CREATE OR REPLACE FUNCTION event_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM event_copies_erase(NEW.workspace_id, NEW.event_key);
    RETURN NULL;
END $$;

-- Events that were erased a moment ago, and the batches that hold them: an attempt that was under way is logged afterwards.
CREATE TABLE erasures (
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    workspace_id text NOT NULL,
    event_key uuid NOT NULL,
    event_id text NOT NULL
);
CREATE INDEX ON erasures (erased_at);

-- Takes away the answers that have come in since, once no attempt can be under way any more: the longest takes 30 seconds. At most so
-- many erasures; how many they were.
CREATE FUNCTION erasures_finish(most integer) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    before timestamptz := now() - interval '5 minutes';
    n bigint := 0;
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE erased_at < before) THEN
        WITH due AS MATERIALIZED (SELECT ctid AS place, * FROM erasures WHERE erased_at < before
            ORDER BY erased_at LIMIT most FOR UPDATE SKIP LOCKED),
        silenced AS (UPDATE delivery_logs d SET response_body = NULL FROM due e
            WHERE d.workspace_id = e.workspace_id AND d.event_id = e.event_id AND d.event_key = e.event_key
                AND d.created_at >= e.erased_at - interval '5 minutes' AND d.response_body IS NOT NULL)
        DELETE FROM erasures WHERE ctid = ANY (ARRAY(SELECT place FROM due));
        GET DIAGNOSTICS n = ROW_COUNT;
    END IF;
    RETURN n;
END $$;
