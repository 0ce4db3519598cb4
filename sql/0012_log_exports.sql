-- Exports of the log: jobs whose files lie here in pieces until their links end. Column by column: docs/tables.md.

ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('recover', 'replay', 'export'));

-- A program that does not know exports takes whatever is due by next_at, and would send deliveries again. So an export never is:
-- its turns go by lease_until.
ALTER TABLE jobs ADD CONSTRAINT jobs_export_next_at CHECK (kind <> 'export' OR next_at = 'infinity');

ALTER TABLE jobs ADD size bigint;                       -- of an export's file, as far as it is written; null: of another kind
ALTER TABLE jobs ADD chunks integer NOT NULL DEFAULT 0; -- rows of export_chunks
ALTER TABLE jobs ADD expires_at timestamptz;            -- an export's file is removed after it; null: not done yet
CREATE INDEX jobs_export_open ON jobs (lease_until) WHERE kind = 'export' AND state IN ('waiting', 'counting', 'running');
CREATE INDEX jobs_export_files ON jobs (expires_at) WHERE chunks > 0;

-- The file, gzip members one after the other, in the order of their numbers. It does not shrink a second time.
CREATE TABLE export_chunks (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number integer NOT NULL,                            -- from 1, without a gap
    workspace_id text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (job_id, number)
);
ALTER TABLE export_chunks ALTER body SET STORAGE EXTERNAL;
CREATE INDEX ON export_chunks (workspace_id);
