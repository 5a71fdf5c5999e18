-- What a copy reads and writes in a database where a table is not copied as it is. A block with a table's name is where
-- its rows are read from.

-- meta --
(SELECT name, value FROM meta WHERE name NOT IN ('copy_source', 'copy_progress')) AS meta

-- idempotency --
(SELECT * FROM idempotency WHERE places IS NOT NULL) AS idempotency

-- object_entry --
(SELECT x.*, NULL::bigint AS sequence, coalesce((
    SELECT "partition" FROM object AS o
    WHERE o.tenant = x.tenant AND o.object = x.object AND o.object_id = x.object_id
), 0) AS "partition" FROM object_entry AS x) AS object_entry

-- hold_schema --
-- Keep all others from starting on the store, or copying it, while this session lives; say whether that is so.
SELECT pg_try_advisory_lock(7020662551234509165) AS is_held

-- others --
-- Return how many sessions of ours besides this one use the database.
SELECT count(*) AS count FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'angarium%'

-- entries --
-- Return a partition's entries after an offset.
SELECT sequence, "partition", "offset", tenant, project, accepted_ms, kind, object, action, object_id, extra, data
FROM event WHERE "partition" = $1 AND "offset" > $2 ORDER BY "offset" LIMIT $3

-- partitions --
-- Return where each partition stands.
SELECT "partition", head, floor, registry FROM "partition" JOIN retained USING ("partition") ORDER BY "partition"

-- last_sequence --
-- Return the last number in commit order that was given out.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last_sequence FROM event_sequence

-- put_partitions --
-- Say where each partition stands.
UPDATE "partition" AS p SET head = given.head, registry = given.registry
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS given ("partition", head, registry)
WHERE p."partition" = given."partition"

-- put_floors --
-- Say what has been dropped.
UPDATE retained AS r SET floor = given.floor FROM unnest($1::smallint[], $2::bigint[]) AS given ("partition", floor)
WHERE r."partition" = given."partition"

-- put_folded --
-- Say that all is folded.
UPDATE folded AS f SET "offset" = p.head, day = p.day FROM "partition" AS p WHERE p."partition" = f."partition"

-- days --
-- Return the day of each partition's last entry.
SELECT p."partition", e.day FROM "partition" AS p
JOIN LATERAL (SELECT day FROM event WHERE "partition" = p."partition" ORDER BY "offset" DESC LIMIT 1) AS e ON true

-- put_days --
-- Say on which day the last entry of each partition was accepted.
UPDATE "partition" AS p SET day = given.day FROM unnest($1::smallint[], $2::integer[]) AS given ("partition", day)
WHERE p."partition" = given."partition"

-- make_day --
-- Make a day's tables, unless it has some.
SELECT make_day($1)

-- add_objects --
-- Write objects' rows, with the days of their entries, which may lie anywhere.
INSERT INTO object (tenant, object, object_id, "partition", "offset", data_offset, is_deleted, day, data_day)
SELECT g.*,
    coalesce((SELECT day FROM event AS e WHERE e."partition" = g."partition" AND e."offset" = g."offset"), 0),
    coalesce((SELECT day FROM event AS e WHERE e."partition" = g."partition" AND e."offset" = g.data_offset), 0)
FROM unnest(
    $1::bigint[], $2::bytea[], $3::bytea[], $4::smallint[], $5::bigint[], $6::bigint[], $7::boolean[]
) AS g (tenant, object, object_id, "partition", "offset", data_offset, is_deleted)

-- put_sequence --
-- Let numbers in commit order go on after one.
SELECT setval('event_sequence', greatest($1::bigint, 1), $1::bigint > 0)

-- put_project_numbers --
-- Let projects' numbers go on after the last.
SELECT setval(pg_get_serial_sequence('project', 'number'), max(number)) FROM project

-- put_tenant_numbers --
-- Let tenants' numbers go on after the last.
SELECT setval(pg_get_serial_sequence('tenant', 'number'), max(number)) FROM tenant

-- add_zones --
-- Say between which numbers the events of some times lie.
INSERT INTO event_zone AS z (zone, writer, first_sequence, last_sequence)
SELECT zone, 0, lowest, highest FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS given (zone, lowest, highest)
ON CONFLICT (zone, writer) DO UPDATE SET first_sequence = least(z.first_sequence, excluded.first_sequence),
    last_sequence = greatest(z.last_sequence, excluded.last_sequence)

-- count_settled --
-- Count deliveries that are settled.
INSERT INTO delivery_count AS c ("partition", project, state, day, total)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::smallint[], $4::integer[], $5::bigint[])
ON CONFLICT (project, state, "partition", day) DO UPDATE SET total = c.total + excluded.total

-- analyze --
-- Have the server know what the tables hold, which came in all at once.
ANALYZE attempt, delivery, event, idempotency, lane, member, object, object_entry, open, owner, subscription,
    subscription_version, tenant

-- drop_meta --
-- Forget a named value.
DELETE FROM meta WHERE name = $1

-- entry --
event

-- settled --
delivery

-- range --
(SELECT * FROM delivery WHERE first_offset IS NOT NULL) AS "range"

-- version --
subscription_version

-- settled_counts --
-- Return how many deliveries are said to be settled, by project and state.
SELECT project, state, sum(total)::bigint AS total FROM delivery_count GROUP BY project, state

-- look --
-- Look at everything as it is at one moment, however long that takes.
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- look_long --
-- Let nobody end what is looked at.
SET LOCAL idle_in_transaction_session_timeout = 0

-- folded --
-- Return up to which offset each partition is folded.
SELECT "partition", "offset" FROM folded
