-- Objects' current state, third parties' programs and what their users allow them, and words that may be used once.

-- An object's row names its last event, and the last that had data (0: none had any), by their offsets: rows are small,
-- and what the log holds is not written twice. An entry that goes from the log while an object's row names it is copied to
-- `object_entry`, and goes from there when the row names it no more. Both entries' days say in which table they lie.
CREATE TABLE object (
    tenant bigint NOT NULL, object bytea NOT NULL, object_id bytea NOT NULL, "partition" smallint NOT NULL,
    "offset" bigint NOT NULL, data_offset bigint NOT NULL, is_deleted boolean NOT NULL, day integer NOT NULL DEFAULT 0,
    data_day integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, object, object_id)
) WITH (fillfactor = 80);
CREATE TABLE object_entry (
    tenant bigint NOT NULL, object bytea NOT NULL, object_id bytea NOT NULL, "offset" bigint NOT NULL,
    accepted_ms bigint NOT NULL, action bytea NOT NULL, extra bytea, data bytea NOT NULL,
    PRIMARY KEY (tenant, object, object_id, "offset")
);

-- Objects with the entries that they consist of, in the log or kept: none is missing unless the store is damaged.
CREATE VIEW object_state AS
SELECT o.tenant, o.object, o.object_id, o."partition", o."offset", o.data_offset, o.is_deleted,
    coalesce(e.accepted_ms, x.accepted_ms) AS accepted_ms, coalesce(e.action, x.action) AS action,
    CASE WHEN e.action IS NULL THEN x.extra ELSE e.extra END AS extra, coalesce(d.data, y.data) AS data
FROM object AS o
LEFT JOIN event AS e ON e."partition" = o."partition" AND e."offset" = o."offset" AND e.day = o.day
LEFT JOIN object_entry AS x ON x.tenant = o.tenant AND x.object = o.object AND x.object_id = o.object_id
    AND x."offset" = o."offset"
LEFT JOIN event AS d ON d."partition" = o."partition" AND d."offset" = o.data_offset AND d.day = o.data_day
LEFT JOIN object_entry AS y ON y.tenant = o.tenant AND y.object = o.object AND y.object_id = o.object_id
    AND y."offset" = o.data_offset;

-- Up to which offset of each partition events are folded into their objects' state; none of those above is of an
-- earlier day.
CREATE TABLE folded (
    "partition" smallint PRIMARY KEY, "offset" bigint NOT NULL, day integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO folded ("partition", "offset") SELECT "partition", floor FROM retained;

ALTER TABLE project ADD COLUMN keeps_objects boolean NOT NULL DEFAULT true;
UPDATE project SET keeps_objects = false
WHERE body IS NOT NULL AND convert_from(body, 'UTF8')::json -> 'settings' ->> 'keep_objects' = 'false';

ALTER TABLE subscription ADD COLUMN external_id bytea NOT NULL DEFAULT '';
CREATE INDEX subscription_by_external_id ON subscription (project, external_id, number) WHERE external_id <> '';

CREATE TABLE app (number bigint PRIMARY KEY, project bytea NOT NULL, body bytea NOT NULL);
CREATE INDEX app_by_project ON app (project, number);

CREATE TABLE app_grant (
    number bigint PRIMARY KEY, project bytea NOT NULL, app bigint NOT NULL, digest bytea NOT NULL, code bytea NOT NULL,
    expires_ms bigint NOT NULL, body bytea NOT NULL
);
CREATE INDEX app_grant_by_project ON app_grant (project, number);
CREATE INDEX app_grant_by_app ON app_grant (app, number);
CREATE INDEX app_grant_by_digest ON app_grant (digest) WHERE digest <> '';
CREATE INDEX app_grant_by_code ON app_grant (code) WHERE code <> '';
CREATE INDEX app_grant_by_expiry ON app_grant (expires_ms, number);

CREATE TABLE once (name bytea PRIMARY KEY, until_ms bigint NOT NULL);
CREATE INDEX once_by_expiry ON once (until_ms);
