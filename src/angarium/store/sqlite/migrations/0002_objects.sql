-- Objects' current state, third parties' programs and what their users allow them, and words that may be used once.

-- An object's row names its last event, and the last that had data (0: none had any), by their numbers in commit order:
-- rows are small, and what the log holds is not written twice. An entry that goes from the log while an object's row
-- names it moves to `object_entry`, as it stood, and goes from there when no row names it any more.
CREATE TABLE object (
    tenant INTEGER NOT NULL, object TEXT NOT NULL, object_id TEXT NOT NULL, sequence INTEGER NOT NULL,
    data_sequence INTEGER NOT NULL, is_deleted INTEGER NOT NULL, PRIMARY KEY (tenant, object, object_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE object_entry (
    sequence INTEGER PRIMARY KEY, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL, tenant INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL, kind INTEGER NOT NULL, object TEXT NOT NULL, action TEXT NOT NULL,
    object_id TEXT NOT NULL, crc INTEGER NOT NULL, extra BLOB, data BLOB NOT NULL
) STRICT;
CREATE TRIGGER object_moves AFTER UPDATE ON object BEGIN
    DELETE FROM object_entry
    WHERE sequence IN (OLD.sequence, OLD.data_sequence) AND sequence NOT IN (NEW.sequence, NEW.data_sequence);
END;
CREATE TRIGGER object_goes AFTER DELETE ON object BEGIN
    DELETE FROM object_entry WHERE sequence IN (OLD.sequence, OLD.data_sequence);
END;

-- Up to which number in commit order events are folded into their objects' state.
CREATE TABLE folded (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL) STRICT;
INSERT INTO folded SELECT 1, coalesce(min(sequence) - 1, 0) FROM event;

ALTER TABLE project ADD COLUMN keeps_objects INTEGER NOT NULL DEFAULT 1;
UPDATE project SET keeps_objects = 0
WHERE body IS NOT NULL AND json_extract(CAST(body AS TEXT), '$.settings.keep_objects') = 0;

ALTER TABLE subscription ADD COLUMN external_id TEXT NOT NULL DEFAULT '';
UPDATE subscription SET external_id = coalesce(json_extract(CAST(body AS TEXT), '$.external_id'), '');
CREATE INDEX subscription_by_external_id ON subscription (project, external_id, number) WHERE external_id <> '';

CREATE TABLE app (number INTEGER PRIMARY KEY, project TEXT NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX app_by_project ON app (project);

CREATE TABLE app_grant (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, app INTEGER NOT NULL, digest BLOB NOT NULL, code BLOB NOT NULL,
    expires_ms INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX app_grant_by_project ON app_grant (project);
CREATE INDEX app_grant_by_app ON app_grant (app);
CREATE INDEX app_grant_by_digest ON app_grant (digest) WHERE digest <> x'';
CREATE INDEX app_grant_by_code ON app_grant (code) WHERE code <> x'';
CREATE INDEX app_grant_by_expiry ON app_grant (expires_ms, number);

CREATE TABLE once (name TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX once_by_expiry ON once (until_ms);
