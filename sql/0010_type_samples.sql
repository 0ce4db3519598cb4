-- The event that an event type's sample is the payload of: the sample goes when the event is erased.

ALTER TABLE event_types ADD sample_event uuid;

CREATE FUNCTION event_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE event_types SET sample = NULL, sample_event = NULL
    WHERE workspace_id = NEW.workspace_id AND sample_event = NEW.event_key;
    RETURN NULL;
END $$;
CREATE TRIGGER event_erased AFTER UPDATE OF body ON events FOR EACH ROW
    WHEN (NEW.body = '' AND OLD.body <> '') EXECUTE FUNCTION event_erased();
