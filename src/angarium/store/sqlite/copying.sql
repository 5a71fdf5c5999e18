-- What a copy reads and writes in a file where a table is not copied as it is. A block with a table's name is where its
-- rows are read from. `{3 each}` stands for as many rows of three values as are written at once.

-- meta --
(SELECT name, value FROM meta WHERE name NOT IN ('copy_source', 'copy_progress')) AS meta

-- event --
(SELECT *, coalesce((SELECT project FROM tenant WHERE number = e.tenant), 0) AS project FROM event AS e) AS event

-- object --
(SELECT o.tenant, o.object, o.object_id, o.is_deleted,
    coalesce(e."partition", x."partition") AS "partition", coalesce(e."offset", x."offset") AS "offset",
    CASE o.data_sequence WHEN 0 THEN 0 ELSE coalesce(
        (SELECT "offset" FROM event WHERE sequence = o.data_sequence),
        (SELECT "offset" FROM object_entry WHERE sequence = o.data_sequence)
    ) END AS data_offset
FROM object AS o LEFT JOIN event AS e ON e.sequence = o.sequence
LEFT JOIN object_entry AS x ON x.sequence = o.sequence) AS object

-- index_entries --
-- Let kept entries be found by their places while objects are copied.
CREATE INDEX IF NOT EXISTS copied_entry ON object_entry ("partition", "offset")

-- drop_index --
-- Find them by their numbers only again.
DROP INDEX copied_entry

-- add_entries --
-- Keep entries that are not in the log any more.
INSERT INTO object_entry (
    sequence, "partition", "offset", tenant, accepted_ms, kind, object, action, object_id, crc, extra, data
) VALUES {12 each}

-- last_number --
-- Return the last number in commit order that any entry has.
SELECT max(coalesce((SELECT max(sequence) FROM event), 0), coalesce((SELECT max(sequence) FROM object_entry), 0))

-- add_objects --
-- Write objects' rows, which name their entries by number.
WITH given (tenant, object, object_id, "partition", "offset", data_offset, is_deleted) AS (VALUES {7 each})
INSERT INTO object (tenant, object, object_id, sequence, data_sequence, is_deleted)
SELECT g.tenant, g.object, g.object_id,
    coalesce(
        (SELECT sequence FROM event_place AS e WHERE e."partition" = g."partition" AND e."offset" = g."offset"),
        (SELECT sequence FROM object_entry AS e WHERE e."partition" = g."partition" AND e."offset" = g."offset")
    ),
    CASE g.data_offset WHEN 0 THEN 0 ELSE coalesce(
        (SELECT sequence FROM event_place AS e WHERE e."partition" = g."partition" AND e."offset" = g.data_offset),
        (SELECT sequence FROM object_entry AS e WHERE e."partition" = g."partition" AND e."offset" = g.data_offset)
    ) END,
    g.is_deleted
FROM given AS g

-- put_partition --
-- Say where a partition stands.
UPDATE "partition" SET head = ?2, floor = ?3, registry = ?4 WHERE "partition" = ?1

-- put_last_zone --
-- Say that all numbers in commit order up to one are given out, though their entries are gone. No time has any of them.
INSERT INTO event_zone (first_sequence, last_sequence, least_ms, most_ms)
SELECT ?1, ?1, 9223372036854775807, 9223372036854775807 WHERE ?1 > (
    SELECT coalesce(max(last_sequence), 0) FROM event_zone
)

-- project_names --
-- Return what projects' numbers stand for.
SELECT number, name FROM project

-- drop_meta --
-- Forget a named value.
DELETE FROM meta WHERE name = ?

-- entry --
(SELECT p."partition", p."offset", e.sequence, e.tenant, coalesce(t.project, 0) AS project, e.accepted_ms, e.kind,
    e.object, e.action, e.object_id, e.extra, e.data, e.crc
FROM event_place AS p CROSS JOIN event AS e ON e.sequence = p.sequence
LEFT JOIN tenant AS t ON t.number = e.tenant) AS entry

-- settled --
delivery

-- range --
(SELECT * FROM delivery WHERE first_offset IS NOT NULL) AS "range"

-- version --
subscription_version

-- settled_counts --
-- Return how many deliveries are said to be settled, by project and state.
SELECT project, state, total FROM delivery_count
