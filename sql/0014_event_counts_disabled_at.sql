-- Events are counted by minute, hour and day too (docs/logs.md). They lie in the order of their time, so that those of a
-- minute are found for next to nothing.

CREATE INDEX events_time ON events USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

-- When a subscription was disabled, whoever and whatever does it.

ALTER TABLE subscriptions ADD COLUMN disabled_at timestamptz;
UPDATE subscriptions SET disabled_at = updated_at WHERE status = 'disabled';

CREATE FUNCTION subscription_disabled_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.disabled_at := CASE WHEN NEW.status = 'disabled' THEN now() END;
    RETURN NEW;
END $$;
CREATE TRIGGER subscription_disabled_at BEFORE UPDATE OF status ON subscriptions FOR EACH ROW
    WHEN (NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION subscription_disabled_at();
