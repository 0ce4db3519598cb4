-- What else holds something of an event, so that it goes when the event is erased: the bodies of tests that were made of an event
-- type's sample, and answers that come in after the erasure.

ALTER TABLE test_bodies ADD source_event uuid;  -- whose payload it was made of; null: of no event's
CREATE INDEX test_bodies_source ON test_bodies (workspace_id, source_event) WHERE source_event IS NOT NULL;

-- Takes away the bodies of tests that were made of the event, and what was answered to them. How many bodies went. (Here and below
-- row by row: a day that has begun has no statistics, by which a join would find its index.)
CREATE FUNCTION event_tests_erase(workspace text, event uuid) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    test record;
    n bigint := 0;
BEGIN
    FOR test IN DELETE FROM test_bodies WHERE workspace_id = workspace AND source_event = event RETURNING created_at, id LOOP
        UPDATE delivery_logs SET response_body = NULL
        WHERE workspace_id = workspace AND created_at = test.created_at AND id = test.id AND response_body IS NOT NULL;
        n := n + 1;
    END LOOP;
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
    SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    due record;
    n bigint := 0;
BEGIN
    FOR due IN DELETE FROM erasures WHERE ctid = ANY (ARRAY(SELECT ctid FROM erasures
        WHERE erased_at < now() - interval '5 minutes' ORDER BY erased_at LIMIT most FOR UPDATE SKIP LOCKED)) RETURNING *
    LOOP
        UPDATE delivery_logs SET response_body = NULL
        WHERE workspace_id = due.workspace_id AND event_id = due.event_id AND event_key = due.event_key
            AND created_at >= due.erased_at - interval '5 minutes' AND response_body IS NOT NULL;
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
