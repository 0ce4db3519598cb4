-- What is due, with its subscription in the key: a look passes over a crowd of one subscription's rows without reading them.
-- Whoever knows the shorter key only finds what he looks for as before.
DROP INDEX schedule_due;
CREATE INDEX schedule_due ON schedule (bucket, due_at, subscription_id) WHERE NOT held;
