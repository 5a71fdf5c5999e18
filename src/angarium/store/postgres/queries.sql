-- What the PostgreSQL store asks, by name. `:name` is a value that the caller names so. A block with {order} is loaded
-- twice, as `name_down` (newest first) and `name_up`; one with {scope} for each of project, tenant and subscription, as
-- `name_project` and so on; `WITH …, {settle}` goes on as the block of that name does after its own WITH. Whatever is written many at a time comes as arrays, one for each column.

-- version --
-- Return which server this is.
SELECT current_setting('server_version_num')::integer

-- encoding --
-- Return how the database keeps text.
SELECT current_setting('server_encoding')

-- lock_schema --
-- Keep other processes from changing the schema until the end of the transaction. The number is ours alone: "angarium".
SELECT pg_advisory_xact_lock(7020662551234509165)

-- schema_of --
-- Return which migrations the database has had.
SELECT number, name, digest FROM migration ORDER BY number

-- has_tables --
-- Say whether the schema holds anything.
SELECT count(*) > 0 FROM pg_class WHERE relnamespace = current_schema()::regnamespace

-- has_migrations --
-- Say whether the schema has a table of migrations.
SELECT count(*) > 0 FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = 'migration'

-- create_migration --
-- Make the table of migrations in a new database.
CREATE TABLE migration (number integer PRIMARY KEY, name text NOT NULL, digest bytea NOT NULL)

-- add_migration --
-- Record that a migration was made.
INSERT INTO migration (number, name, digest) VALUES (:number, :name, :digest)

-- meta --
-- Return a named value.
SELECT value FROM meta WHERE name = :name

-- put_meta --
-- Keep a named value.
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- give_number --
-- Give out the next number of a kind.
INSERT INTO number (kind, given) VALUES (:kind, 1)
ON CONFLICT (kind) DO UPDATE SET given = number.given + 1 RETURNING given

-- sharing --
-- Return who shares: workers' slots and owned partitions, and which of them are ours. A lock's numbers are shown unsigned.
SELECT NOT is_partition AS is_slot, l.objid::bigint::integer AS number, l.pid = pg_backend_pid() AS is_own
FROM (
    VALUES (false, hashtext('angarium worker ' || current_schema())),
        (true, hashtext('angarium partition ' || current_schema()))
) AS ours (is_partition, class)
JOIN pg_locks AS l ON l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
    AND l.classid::bigint = ours.class::bigint & 4294967295
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- take_slot --
-- Be counted among the workers, if nobody has this slot.
SELECT pg_try_advisory_lock(hashtext('angarium worker ' || current_schema()), :slot)

-- release_slot --
-- Be counted no more.
SELECT pg_advisory_unlock(hashtext('angarium worker ' || current_schema()), :slot)

-- claim --
-- Own those partitions that nobody owns, and commit something, which only the primary can; return the partitions.
SELECT coalesce(array_agg(claimed."partition"), '{}') AS claimed,
    (SELECT pg_logical_emit_message(true, 'angarium', ''::text)) AS said
FROM (
    SELECT "partition" FROM unnest(:partitions::integer[]) AS wanted ("partition")
    WHERE pg_try_advisory_lock(hashtext('angarium partition ' || current_schema()), "partition")
) AS claimed

-- release --
-- Own some partitions no more.
SELECT pg_advisory_unlock(hashtext('angarium partition ' || current_schema()), "partition")
FROM unnest(:partitions::integer[]) AS released ("partition")

-- lock_name --
-- Wait until nobody else holds a name.
SELECT pg_advisory_lock(hashtextextended(current_schema() || ' ' || :name::text, 0))

-- unlock_name --
-- Hold a name no more.
SELECT pg_advisory_unlock(hashtextextended(current_schema() || ' ' || :name::text, 0))

-- count_change --
-- Count a change of what all processes remember: by connection, so that changes do not wait for each other.
INSERT INTO number (kind, given) VALUES ('change ' || pg_backend_pid() % 64, 1)
ON CONFLICT (kind) DO UPDATE SET given = number.given + 1 RETURNING kind, given

-- changes --
-- Return the counts of changes.
SELECT kind, given FROM number WHERE kind LIKE 'change %'

-- notify --
-- Tell other processes which partitions have moved.
SELECT pg_notify('angarium_moved', :moved)

-- say --
-- Say something to other processes.
SELECT pg_notify('angarium_said', each) FROM unnest(:said::text[]) AS each

-- standing --
-- Return where each partition stands that was ever touched.
SELECT "partition", head, registry FROM "partition" WHERE head > 0 OR registry > 0 ORDER BY "partition"

-- floors --
-- Return the highest offset of each partition that was dropped.
SELECT "partition", floor FROM retained ORDER BY "partition"

-- head --
-- Return a partition's last offset.
SELECT head FROM "partition" WHERE "partition" = :partition

-- lock_partitions --
-- Hold partitions to the end of the transaction; return where they stand.
SELECT "partition", head, registry FROM "partition" WHERE "partition" = ANY(:partitions::smallint[])
ORDER BY "partition" FOR UPDATE

-- touch --
-- Tell the owners of partitions that their subscriptions have changed.
UPDATE "partition" SET registry = registry + 1 WHERE "partition" = :partition RETURNING registry

-- accept --
-- Append entries to partitions, whose rows stay locked to the commit: offsets are gap-free and in commit order. `distance`
-- counts each partition's entries from 1. Tenants that are not registered yet come into being. Return where each partition
-- stood before.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:partitions::smallint[], :counts::integer[], :days::integer[])
        AS given ("partition", count, day)
), locked AS MATERIALIZED (
    SELECT "partition" FROM "partition" WHERE "partition" = ANY(:partitions) ORDER BY "partition" FOR UPDATE
), moved AS (
    UPDATE "partition" AS p SET head = p.head + given.count, day = greatest(p.day, given.day)
    FROM locked JOIN given ON given."partition" = locked."partition"
    WHERE p."partition" = locked."partition"
    RETURNING p."partition", p.head - given.count AS before, p.registry, p.day
), registered AS (
    UPDATE tenant SET created_ms = made.now_ms
    FROM unnest(:made::bigint[], :made_ms::bigint[]) AS made (number, now_ms)
    WHERE tenant.number = made.number AND tenant.created_ms IS NULL AND (SELECT count(*) FROM moved) > 0
), written AS (
    INSERT INTO event (
        "partition", kind, "offset", tenant, project, accepted_ms, object, action, object_id, extra, data, day
    )
    SELECT e."partition", e.kind, moved.before + e.distance, e.tenant, e.project, e.accepted_ms, e.object, e.action,
        e.object_id, e.extra, e.data, moved.day
    FROM unnest(
        :partition::smallint[], :kind::smallint[], :distance::integer[], :tenant::bigint[], :project::bigint[],
        :accepted_ms::bigint[], :object::bytea[], :action::bytea[], :object_id::bytea[], :extra::bytea[], :data::bytea[]
    ) WITH ORDINALITY AS e (
        "partition", kind, distance, tenant, project, accepted_ms, object, action, object_id, extra, data, number
    )
    JOIN moved ON moved."partition" = e."partition"
    ORDER BY e.number
    RETURNING accepted_ms, sequence
), zoned AS (
    INSERT INTO event_zone AS z (zone, writer, first_sequence, last_sequence)
    SELECT accepted_ms / 600000, pg_backend_pid(), min(sequence), max(sequence) FROM written GROUP BY 1
    ON CONFLICT (zone, writer) DO UPDATE SET first_sequence = least(z.first_sequence, excluded.first_sequence),
        last_sequence = greatest(z.last_sequence, excluded.last_sequence)
)
SELECT "partition", before, registry FROM moved

-- claim_keys --
-- Hold idempotency keys, in their order, to the end of the transaction; return what they answer, nothing where they are new.
INSERT INTO idempotency (project, key, digest, matched, expires_ms)
SELECT project, key, '', 0, 0 FROM unnest(:projects::bytea[], :keys::bytea[]) AS asked (project, key)
ORDER BY project, key
ON CONFLICT (project, key) DO UPDATE SET matched = idempotency.matched
RETURNING project, key, digest, matched, expires_ms, places

-- keep_keys --
-- Keep what idempotency keys answer.
UPDATE idempotency AS kept SET digest = given.digest, matched = given.matched, expires_ms = given.expires_ms,
    places = given.places
FROM unnest(
    :projects::bytea[], :keys::bytea[], :digests::bytea[], :matched::integer[], :expires_ms::bigint[], :places::bytea[]
) AS given (project, key, digest, matched, expires_ms, places)
WHERE kept.project = given.project AND kept.key = given.key

-- give_projects --
-- Give numbers to projects that have none.
INSERT INTO project (name) SELECT name FROM unnest(:names::bytea[]) AS given (name) ORDER BY name ON CONFLICT DO NOTHING

-- give_tenants --
-- Give numbers to tenants that have none.
INSERT INTO tenant (project, name)
SELECT p.number, given.tenant FROM unnest(:projects::bytea[], :tenants::bytea[]) AS given (project, tenant)
JOIN project AS p ON p.name = given.project ORDER BY p.number, given.tenant ON CONFLICT DO NOTHING

-- numbers_of --
-- Return the numbers of tenants and of their projects.
SELECT p.name AS project_name, t.name AS tenant_name, t.number, t.project
FROM unnest(:projects::bytea[], :tenants::bytea[]) AS given (project, tenant)
JOIN project AS p ON p.name = given.project JOIN tenant AS t ON t.project = p.number AND t.name = given.tenant

-- names_of --
-- Return whose names some tenants' numbers stand for.
SELECT t.number, p.name AS project_name, t.name AS tenant_name
FROM tenant AS t JOIN project AS p ON p.number = t.project WHERE t.number = ANY(:numbers::bigint[])

-- project_number --
-- Return a project's number, if it has one.
SELECT number FROM project WHERE name = :name

-- read --
-- Return a partition's entries after an offset, none of which is of an earlier day than `since`.
SELECT "partition", "offset", accepted_ms, kind, object, action, object_id, extra, data, tenant, day FROM event
WHERE "partition" = :partition AND "offset" > :after AND day >= :since ORDER BY "offset" LIMIT :limit

-- read_tenant --
-- Return a tenant's entries after an offset and not beyond another.
SELECT "partition", "offset", accepted_ms, kind, object, action, object_id, extra, data, tenant, day FROM event
WHERE tenant = :tenant AND "offset" > :after AND "offset" <= :head AND day >= :since ORDER BY "offset" LIMIT :limit

-- entries --
-- Return the entries at some offsets, all of which are of days between two.
SELECT "partition", "offset", accepted_ms, kind, object, action, object_id, extra, data, tenant, day FROM event
WHERE "partition" = :partition AND "offset" = ANY(:offsets::bigint[]) AND day >= :since AND day <= :until ORDER BY "offset"

-- sequences_of_time --
-- Return between which numbers every entry of a time lies.
SELECT min(first_sequence) AS lowest, max(last_sequence) AS highest FROM event_zone
WHERE zone >= :since::bigint / 600000 AND zone <= :until::bigint / 600000

-- list_of_project --
-- Return which of a project's next events fit a filter, with the number of the last that was looked at.
WITH looked AS MATERIALIZED (
    SELECT * FROM event WHERE project = :project AND kind = 0 AND sequence > :above AND sequence < :below
    ORDER BY sequence {order} LIMIT :looked_at
), edge AS (
    SELECT sequence FROM looked OFFSET :looked_at - 1 LIMIT 1
)
SELECT "partition", "offset", accepted_ms, kind, object, action, object_id, extra, data, tenant, sequence,
    (SELECT sequence FROM edge) AS edge
FROM (SELECT 1) AS one LEFT JOIN looked ON (:object::bytea IS NULL OR object = :object)
    AND (:object_id::bytea IS NULL OR object_id = :object_id) AND (:action::bytea IS NULL OR action = :action)
    AND accepted_ms >= :since AND accepted_ms < :until
ORDER BY sequence {order} LIMIT :limit

-- offset_of --
-- Return a tenant's last offset whose number is not above one, 0 when there is none, by halving: both grow together.
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, head FROM "partition" WHERE "partition" = :partition
    UNION ALL
    SELECT CASE WHEN probe.sequence <= :sequence THEN probe."offset" ELSE low END,
        CASE WHEN probe.sequence <= :sequence THEN high ELSE (low + high + 1) / 2 - 1 END
    FROM search LEFT JOIN LATERAL (
        SELECT "offset", sequence FROM event WHERE tenant = :tenant AND "offset" >= (low + high + 1) / 2
        ORDER BY "offset" LIMIT 1
    ) AS probe ON true
    WHERE low < high
)
SELECT max(low) FROM search

-- list_of_tenant --
-- Return which of a tenant's next events fit a filter, with the number of the last that was looked at.
WITH looked AS MATERIALIZED (
    SELECT * FROM event WHERE tenant = :tenant AND "offset" > :lowest AND "offset" <= :highest
    ORDER BY "offset" {order} LIMIT :looked_at
), edge AS (
    SELECT sequence FROM looked OFFSET :looked_at - 1 LIMIT 1
)
SELECT "partition", "offset", accepted_ms, kind, object, action, object_id, extra, data, tenant, sequence,
    (SELECT sequence FROM edge) AS edge
FROM (SELECT 1) AS one LEFT JOIN looked ON kind = 0 AND (:object::bytea IS NULL OR object = :object)
    AND (:object_id::bytea IS NULL OR object_id = :object_id) AND (:action::bytea IS NULL OR action = :action)
    AND accepted_ms >= :since AND accepted_ms < :until
ORDER BY sequence {order} LIMIT :limit

-- lock_project --
-- Hold a project to the end of the transaction; return what is there of it.
SELECT number, created_ms, keeps_objects FROM project WHERE name = :name FOR UPDATE

-- put_project --
-- Create or replace a project.
UPDATE project SET created_ms = :created_ms, body = :body, keeps_objects = :keeps_objects WHERE number = :number

-- project --
-- Return a project.
SELECT body FROM project WHERE name = :name AND created_ms IS NOT NULL

-- projects --
-- Return the projects between two.
SELECT body FROM project
WHERE created_ms IS NOT NULL AND (created_ms, name) > (:above_ms::bigint, :above::bytea)
    AND (created_ms, name) < (:below_ms::bigint, :below::bytea)
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- forget_project --
-- Leave nothing of a project but its number.
UPDATE project SET created_ms = NULL, body = NULL, keeps_objects = true WHERE number = :number

-- forget_tenants --
-- Leave nothing of a project's tenants but their numbers.
UPDATE tenant SET created_ms = NULL, body = NULL WHERE project = :number AND created_ms IS NOT NULL

-- lock_tenant --
-- Hold a tenant to the end of the transaction; say when it was registered.
SELECT created_ms FROM tenant WHERE number = :number FOR UPDATE

-- put_tenant --
-- Create or replace a tenant.
UPDATE tenant SET created_ms = :created_ms, body = :body WHERE number = :number

-- tenant --
-- Return a tenant.
SELECT name, created_ms, body FROM tenant WHERE number = :number AND created_ms IS NOT NULL

-- tenants --
-- Return a project's tenants between two.
SELECT name, created_ms, body FROM tenant
WHERE project = :project AND created_ms IS NOT NULL AND (created_ms, name) > (:above_ms::bigint, :above::bytea)
    AND (created_ms, name) < (:below_ms::bigint, :below::bytea)
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- put_key --
-- Create or replace an API key.
INSERT INTO api_key (number, digest, project, body) VALUES (:number, :digest, :project, :body)
ON CONFLICT (number) DO UPDATE SET digest = excluded.digest, project = excluded.project, body = excluded.body

-- key_of --
-- Return the API key with this digest.
SELECT body FROM api_key WHERE digest = :digest

-- key --
-- Return an API key.
SELECT body FROM api_key WHERE number = :number

-- keys --
-- Return a project's API keys between two numbers.
SELECT body FROM api_key WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- delete_key --
-- Delete an API key.
DELETE FROM api_key WHERE number = :number RETURNING number

-- delete_keys --
-- Delete a project's API keys.
DELETE FROM api_key WHERE project = :project

-- put_app --
-- Create or replace an app.
INSERT INTO app (number, project, body) VALUES (:number, :project, :body)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, body = excluded.body

-- app --
-- Return an app.
SELECT body FROM app WHERE number = :number

-- apps --
-- Return a project's apps between two numbers.
SELECT body FROM app WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- delete_app --
-- Delete an app.
DELETE FROM app WHERE number = :number RETURNING number

-- delete_apps --
-- Delete a project's apps.
DELETE FROM app WHERE project = :project

-- put_grant --
-- Create or replace a grant.
INSERT INTO app_grant (number, project, app, digest, code, expires_ms, body)
VALUES (:number, :project, :app, :digest, :code, :expires_ms, :body)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, app = excluded.app, digest = excluded.digest,
    code = excluded.code, expires_ms = excluded.expires_ms, body = excluded.body

-- grant --
-- Return a grant.
SELECT body FROM app_grant WHERE number = :number

-- grant_by_token --
-- Return the grant whose access token has this digest.
SELECT body FROM app_grant WHERE digest = :digest AND digest <> '' ORDER BY number LIMIT 1

-- grant_by_code --
-- Return the grant whose code has this digest.
SELECT body FROM app_grant WHERE code = :digest AND code <> '' ORDER BY number LIMIT 1

-- grants --
-- Return a project's grants between two numbers.
SELECT body FROM app_grant WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- grants_of_app --
-- Return an app's grants between two numbers.
SELECT body FROM app_grant WHERE app = :app AND project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- grants_until --
-- Return grants that expire before a moment.
SELECT body FROM app_grant WHERE expires_ms < :before_ms ORDER BY expires_ms, number LIMIT :limit

-- delete_grant --
-- Delete a grant.
DELETE FROM app_grant WHERE number = :number RETURNING number

-- delete_grants_of --
-- Delete an app's grants.
DELETE FROM app_grant WHERE app = :app

-- delete_grants --
-- Delete a project's grants.
DELETE FROM app_grant WHERE project = :project

-- take_once --
-- Take a word that was not taken, or is forgotten by now.
INSERT INTO once (name, until_ms) VALUES (:name, :until)
ON CONFLICT (name) DO UPDATE SET until_ms = excluded.until_ms WHERE once.until_ms <= :now RETURNING 1

-- put_subscription --
-- Create or replace a subscription.
INSERT INTO subscription (number, project, tenant, status, external_id, body)
VALUES (:number, :project, :tenant, :status, :external_id, :body)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, tenant = excluded.tenant, status = excluded.status,
    external_id = excluded.external_id, body = excluded.body

-- put_owner --
-- Remember whose a subscription is.
INSERT INTO owner (subscription, project, tenant, "partition") VALUES (:number, :project, :tenant, :partition)
ON CONFLICT (subscription) DO NOTHING

-- owners --
-- Return whose some subscriptions are or were.
SELECT subscription, project, tenant FROM owner WHERE subscription = ANY(:numbers::bigint[])

-- subscription --
-- Return a subscription.
SELECT body FROM subscription WHERE number = :number

-- subscriptions_of_project --
-- Return a project's subscriptions between two numbers.
SELECT body FROM subscription WHERE project = :scope AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- subscriptions_of_project_in --
-- Return a project's subscriptions of a status between two numbers.
SELECT body FROM subscription WHERE project = :scope AND status = :status AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- subscriptions_of_tenant --
-- Return a tenant's subscriptions between two numbers.
SELECT body FROM subscription WHERE tenant = :scope AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- subscriptions_of_tenant_in --
-- Return a tenant's subscriptions of a status between two numbers.
SELECT body FROM subscription WHERE tenant = :scope AND status = :status AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- subscription_called --
-- Return a project's subscription that an older API knows by an id, the first of them.
SELECT body FROM subscription
WHERE project = (SELECT number FROM project WHERE name = :name) AND external_id = :external_id AND external_id <> ''
ORDER BY number LIMIT 1

-- all_subscriptions_of_tenant --
-- Return all subscriptions of a tenant.
SELECT body FROM subscription WHERE tenant = :tenant ORDER BY number

-- all_subscriptions_of_project --
-- Return all subscriptions of a project.
SELECT body FROM subscription WHERE project = :project ORDER BY number

-- put_version --
-- Keep what is in force for a subscription from an offset on.
INSERT INTO subscription_version (subscription, from_offset, "partition", body)
VALUES (:number, :from_offset, :partition, :body)

-- versions_of --
-- Return all versions of a tenant's living subscriptions.
SELECT v.body FROM subscription AS s JOIN subscription_version AS v ON v.subscription = s.number
WHERE s.tenant = :tenant ORDER BY s.number, v.from_offset

-- delete_subscription --
-- Delete a subscription.
DELETE FROM subscription WHERE number = :number

-- delete_versions --
-- Delete what was in force for a subscription.
DELETE FROM subscription_version WHERE subscription = :number

-- delete_lane_of --
-- Delete a subscription's behind lane.
DELETE FROM lane WHERE "partition" = :partition AND subscription = :number

-- delete_opens_of --
-- Delete a subscription's open deliveries.
DELETE FROM open WHERE subscription = :number

-- settle --
-- Write how deliveries ended, what they settle besides their last events, how many ended so, and partitions' watermarks.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        :partition::smallint[], :last_offset::bigint[], :subscription::bigint[], :last_ms::bigint[], :project::bigint[],
        :tenant::bigint[], :state::smallint[], :origin::smallint[], :weight::integer[], :first_offset::bigint[],
        :record::bytea[]
    ) AS given (
        "partition", last_offset, subscription, last_ms, project, tenant, state, origin, weight, first_offset, record
    )
), replaced AS MATERIALIZED (
    SELECT d.* FROM given CROSS JOIN LATERAL (
        SELECT "partition", project, state, last_ms, weight FROM delivery
        WHERE "partition" = given."partition" AND last_offset = given.last_offset AND subscription = given.subscription
            AND last_ms = given.last_ms AND last_ms >= :since_ms AND last_ms <= :until_ms
        LIMIT 1
    ) AS d
), written AS (
    INSERT INTO delivery (
        "partition", last_offset, subscription, last_ms, project, tenant, state, origin, weight, first_offset, record
    )
    SELECT * FROM given
    ON CONFLICT ("partition", last_offset, subscription, last_ms) DO UPDATE SET project = excluded.project,
        tenant = excluded.tenant, state = excluded.state, origin = excluded.origin, weight = excluded.weight,
        first_offset = excluded.first_offset, record = excluded.record
), joined AS (
    INSERT INTO member ("partition", "offset", last_offset, subscription, last_ms)
    SELECT * FROM unnest(
        :member_partition::smallint[], :member_offset::bigint[], :member_last_offset::bigint[],
        :member_subscription::bigint[], :member_last_ms::bigint[]
    )
    ON CONFLICT DO NOTHING
), counted AS (
    INSERT INTO delivery_count AS c ("partition", project, state, day, total)
    SELECT "partition", project, state, last_ms / 86400000, sum(weight) FROM (
        SELECT "partition", project, state, last_ms, weight FROM given
        UNION ALL SELECT "partition", project, state, last_ms, -weight FROM replaced
    ) AS change
    GROUP BY 2, 3, 1, 4 ORDER BY 2, 3, 1, 4
    ON CONFLICT (project, state, "partition", day) DO UPDATE SET total = c.total + excluded.total
)
INSERT INTO progress ("partition", watermark)
SELECT * FROM unnest(:moved::smallint[], :watermarks::bigint[]) AS moved ("partition", watermark) ORDER BY "partition"
ON CONFLICT ("partition") DO UPDATE SET watermark = excluded.watermark

-- flush --
-- Write what `settle` writes, and besides which open deliveries are closed or written, which behind lanes are gone or
-- written, and failed attempts. What stands first here is done last: rows are locked in the order of who removes a
-- subscription, its open deliveries before its lane.
WITH tried AS (
    INSERT INTO attempt ("partition", last_offset, subscription, last_ms, number, at_ms, body)
    SELECT * FROM unnest(
        :attempt_partition::smallint[], :attempt_last_offset::bigint[], :attempt_subscription::bigint[],
        :attempt_last_ms::bigint[], :attempt_number::integer[], :attempt_at_ms::bigint[], :attempt_body::bytea[]
    )
    ON CONFLICT ("partition", last_offset, subscription, last_ms, number) DO UPDATE SET at_ms = excluded.at_ms,
        body = excluded.body
), behind AS (
    INSERT INTO lane ("partition", subscription, "cursor", body)
    SELECT * FROM unnest(
        :lane_partition::smallint[], :lane_subscription::bigint[], :lane_cursor::bigint[], :lane_body::bytea[]
    )
    ON CONFLICT ("partition", subscription) DO UPDATE SET "cursor" = excluded."cursor", body = excluded.body
), gone AS (
    DELETE FROM lane USING unnest(:gone_partition::smallint[], :gone_subscription::bigint[])
        AS given ("partition", subscription)
    WHERE lane."partition" = given."partition" AND lane.subscription = given.subscription
), opened AS (
    INSERT INTO open ("partition", last_offset, subscription, last_ms, project, tenant, origin, first_offset, record)
    SELECT * FROM unnest(
        :opened_partition::smallint[], :opened_last_offset::bigint[], :opened_subscription::bigint[],
        :opened_last_ms::bigint[], :opened_project::bigint[], :opened_tenant::bigint[], :opened_origin::smallint[],
        :opened_first_offset::bigint[], :opened_record::bytea[]
    )
    ON CONFLICT ("partition", last_offset, subscription, last_ms) DO UPDATE SET origin = excluded.origin,
        first_offset = excluded.first_offset, record = excluded.record
), closed AS (
    DELETE FROM open USING unnest(
        :closed_partition::smallint[], :closed_last_offset::bigint[], :closed_subscription::bigint[],
        :closed_last_ms::bigint[]
    ) AS given ("partition", last_offset, subscription, last_ms)
    WHERE open."partition" = given."partition" AND open.last_offset = given.last_offset
        AND open.subscription = given.subscription AND open.last_ms = given.last_ms
), {settle}

-- add_attempts --
-- Write failed attempts.
INSERT INTO attempt ("partition", last_offset, subscription, last_ms, number, at_ms, body)
SELECT * FROM unnest(
    :attempt_partition::smallint[], :attempt_last_offset::bigint[], :attempt_subscription::bigint[],
    :attempt_last_ms::bigint[], :attempt_number::integer[], :attempt_at_ms::bigint[], :attempt_body::bytea[]
)
ON CONFLICT ("partition", last_offset, subscription, last_ms, number) DO UPDATE SET at_ms = excluded.at_ms,
    body = excluded.body

-- delete_settled --
-- Delete how deliveries ended, and count them no more; return how many they were.
WITH gone AS (
    DELETE FROM delivery USING unnest(
        :partition::smallint[], :last_offset::bigint[], :subscription::bigint[], :last_ms::bigint[]
    ) AS given ("partition", last_offset, subscription, last_ms)
    WHERE delivery."partition" = given."partition" AND delivery.last_offset = given.last_offset
        AND delivery.subscription = given.subscription AND delivery.last_ms = given.last_ms
    RETURNING delivery."partition", delivery.project, delivery.state, delivery.last_ms, delivery.weight
), counted AS (
    INSERT INTO delivery_count AS c ("partition", project, state, day, total)
    SELECT "partition", project, state, last_ms / 86400000, -sum(weight) FROM gone
    GROUP BY 2, 3, 1, 4 ORDER BY 2, 3, 1, 4
    ON CONFLICT (project, state, "partition", day) DO UPDATE SET total = c.total + excluded.total
)
SELECT count(*) FROM gone

-- counts --
-- Return how many deliveries of a project are in each settled state.
SELECT state, sum(total)::bigint AS total FROM delivery_count WHERE project = :project GROUP BY state HAVING sum(total) > 0

-- count_open --
-- Return how many deliveries of a project are open.
SELECT count(*) FROM open WHERE project = :project

-- watermarks --
-- Return the watermarks above 0.
SELECT "partition", watermark FROM progress WHERE watermark > 0 ORDER BY "partition"

-- lanes --
-- Return the rows of partitions' behind lanes.
SELECT body FROM lane WHERE "partition" = ANY(:partitions::smallint[]) ORDER BY "partition", subscription

-- lanes_of_project --
-- Return the rows of a project's behind lanes.
SELECT l.body FROM subscription AS s JOIN owner AS o ON o.subscription = s.number
JOIN lane AS l ON l."partition" = o."partition" AND l.subscription = s.number WHERE s.project = :project

-- failed_of_project --
-- Return the subscriptions of a project of whose lanes an open delivery has failed before.
SELECT DISTINCT o.subscription FROM open AS o WHERE o.project = :project AND o.origin = 0 AND EXISTS (
    SELECT 1 FROM attempt AS a WHERE a."partition" = o."partition" AND a.last_offset = o.last_offset
        AND a.subscription = o.subscription AND a.last_ms = o.last_ms
)

-- lane --
-- Return a behind lane's row.
SELECT body FROM lane WHERE "partition" = :partition AND subscription = :subscription

-- opens --
-- Return the open deliveries of partitions.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE "partition" = ANY(:partitions::smallint[])
ORDER BY "partition", last_offset, subscription, last_ms

-- asked_for --
-- Return the open deliveries of partitions that somebody asked for.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE "partition" = ANY(:partitions::smallint[]) AND origin <> 0
ORDER BY "partition", last_offset, subscription, last_ms

-- open --
-- Return an open delivery.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE "partition" = :partition AND last_offset = :last_offset AND subscription = :subscription AND last_ms = :last_ms

-- add_open --
-- Add an open delivery, unless it is open.
INSERT INTO open ("partition", last_offset, subscription, last_ms, project, tenant, origin, first_offset, record)
VALUES (
    :partition, :last_offset, :subscription, :last_ms, :project, :tenant, :origin, :first_offset, :record
)
ON CONFLICT DO NOTHING RETURNING 1

-- add_members --
-- Remember which delivery settles events that are not its last.
INSERT INTO member ("partition", "offset", last_offset, subscription, last_ms)
SELECT :partition::smallint, each, :last_offset::bigint, :subscription::bigint, :last_ms::bigint
FROM unnest(:members::bigint[]) AS each
ON CONFLICT DO NOTHING

-- settled --
-- Return how a delivery ended.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE "partition" = :partition AND last_offset = :last_offset AND subscription = :subscription AND last_ms = :last_ms

-- settled_after --
-- Return how deliveries ended whose last event stands above an offset.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE "partition" = :partition AND last_offset > :offset ORDER BY last_offset, subscription, last_ms

-- tenant_at --
-- Return whose entry this is.
SELECT tenant FROM event WHERE "partition" = :partition AND "offset" = :offset AND day >= :since AND day <= :until

-- settled_of_event --
-- Return how deliveries of an event ended: as their last, among their members, or in a range of its tenant's.
SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM delivery AS d WHERE d."partition" = :partition::smallint AND d.last_offset = :offset::bigint
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM member AS m JOIN delivery AS d USING ("partition", last_offset, subscription, last_ms)
WHERE m."partition" = :partition AND m."offset" = :offset
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM delivery AS d
WHERE d.tenant = :tenant::bigint AND d.last_offset > :offset AND d.first_offset <= :offset
    AND d.first_offset IS NOT NULL AND d."partition" = :partition

-- opens_of_event --
-- Return the open deliveries of an event: as their last, or among their members.
SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.origin, d.record
FROM open AS d WHERE d."partition" = :partition::smallint AND d.last_offset = :offset::bigint
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.origin, d.record
FROM member AS m JOIN open AS d USING ("partition", last_offset, subscription, last_ms)
WHERE m."partition" = :partition AND m."offset" = :offset

-- list_settled --
-- Return how deliveries ended, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE {scope} = :scope AND last_ms >= :above_ms AND last_ms <= :below_ms
    AND (last_ms, "partition", last_offset, subscription)
        > (:above_ms::bigint, :above_partition::smallint, :above_offset::bigint, :above::bigint)
    AND (last_ms, "partition", last_offset, subscription)
        < (:below_ms::bigint, :below_partition::smallint, :below_offset::bigint, :below::bigint)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_delivered --
-- Return deliveries that were delivered, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE {scope} = :scope AND state = 0 AND last_ms >= :above_ms AND last_ms <= :below_ms
    AND (last_ms, "partition", last_offset, subscription)
        > (:above_ms::bigint, :above_partition::smallint, :above_offset::bigint, :above::bigint)
    AND (last_ms, "partition", last_offset, subscription)
        < (:below_ms::bigint, :below_partition::smallint, :below_offset::bigint, :below::bigint)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_failed --
-- Return deliveries that ended in one of the rarer states, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE {scope} = :scope AND state = :state AND state > 0 AND last_ms >= :above_ms AND last_ms <= :below_ms
    AND (last_ms, "partition", last_offset, subscription)
        > (:above_ms::bigint, :above_partition::smallint, :above_offset::bigint, :above::bigint)
    AND (last_ms, "partition", last_offset, subscription)
        < (:below_ms::bigint, :below_partition::smallint, :below_offset::bigint, :below::bigint)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_opens --
-- Return open deliveries, between two of them.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE {scope} = :scope
    AND (last_ms, "partition", last_offset, subscription)
        > (:above_ms::bigint, :above_partition::smallint, :above_offset::bigint, :above::bigint)
    AND (last_ms, "partition", last_offset, subscription)
        < (:below_ms::bigint, :below_partition::smallint, :below_offset::bigint, :below::bigint)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- attempts --
-- Return a delivery's failed attempts.
SELECT "partition", last_offset, subscription, last_ms, number, at_ms, body FROM attempt
WHERE "partition" = :partition AND last_offset = :last_offset AND subscription = :subscription AND last_ms = :last_ms
ORDER BY number

-- put_job --
-- Create or replace a job.
INSERT INTO job (number, project, tenant, state, body) VALUES (:number, :project, :tenant, :state, :body)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, tenant = excluded.tenant, state = excluded.state,
    body = excluded.body

-- job --
-- Return a job.
SELECT body FROM job WHERE number = :number

-- jobs --
-- Return a project's jobs between two numbers.
SELECT body FROM job WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- jobs_of_tenant --
-- Return a tenant's jobs between two numbers.
SELECT body FROM job WHERE project = :project AND tenant = :tenant AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- jobs_in --
-- Return all jobs in a state.
SELECT body FROM job WHERE state = :state ORDER BY number

-- delete_jobs --
-- Delete a project's jobs.
DELETE FROM job WHERE project = :project

-- lock_unfolded --
-- Hold how far partitions are folded, those that are not folded to their heads; return how far each is, its head, and the
-- days of both.
SELECT f."partition", f."offset", p.head, f.day, p.day AS head_day FROM folded AS f JOIN "partition" AS p ON p."partition" = f."partition"
WHERE p.head > f."offset" AND (:partition::smallint IS NULL OR f."partition" = :partition)
ORDER BY f."partition" FOR UPDATE OF f

-- lock_folded --
-- Hold how far all partitions are folded: nothing is folded until the end of the transaction but by it.
SELECT "partition" FROM folded ORDER BY "partition" FOR UPDATE

-- unfolded --
-- Say whether there is anything to fold.
SELECT count(*) > 0 FROM folded AS f JOIN "partition" AS p ON p."partition" = f."partition" WHERE p.head > f."offset"

-- fold --
-- Fold partitions' events between two offsets into their objects' rows. A group's last event is the largest of its
-- offsets, each doubled, and one more for a deletion. OFFSET 0 has each range read by itself: the server must not read all
-- that there is and compare it with the ranges.
WITH range AS MATERIALIZED (
    SELECT * FROM unnest(:partition::smallint[], :low::bigint[], :high::bigint[], :day::integer[])
        AS range ("partition", low, high, day)
), moved AS (
    UPDATE folded SET "offset" = range.high, day = range.day FROM range WHERE folded."partition" = range."partition"
)
INSERT INTO object AS o (tenant, object, object_id, "partition", "offset", data_offset, day, data_day, is_deleted)
SELECT tenant, object, object_id, "partition", last / 2, data_offset, day, data_day, last % 2 = 1 FROM (
    SELECT e.tenant, e.object, e.object_id, e."partition", max(e."offset" * 2 + (e.action = 'delete')::integer) AS last,
        max(CASE WHEN length(e.data) > 0 THEN e."offset" ELSE 0 END) AS data_offset, max(e.day) AS day,
        max(CASE WHEN length(e.data) > 0 THEN e.day ELSE 0 END) AS data_day
    FROM range CROSS JOIN LATERAL (
        SELECT * FROM event WHERE "partition" = range."partition" AND "offset" > range.low AND "offset" <= range.high
            AND kind = 0 AND day >= :since OFFSET 0
    ) AS e
    JOIN project AS p ON p.number = e.project
    WHERE p.keeps_objects
    GROUP BY e.tenant, e.object, e.object_id, e."partition"
) AS grouped
ON CONFLICT (tenant, object, object_id) DO UPDATE SET "offset" = excluded."offset", is_deleted = excluded.is_deleted,
    data_offset = greatest(o.data_offset, excluded.data_offset), day = excluded.day,
    data_day = greatest(o.data_day, excluded.data_day)

-- drop_kept_entries --
-- Drop what was kept for objects' rows that events between two offsets have moved on.
WITH moved AS MATERIALIZED (
    SELECT DISTINCT e.tenant, e.object, e.object_id
    FROM unnest(:partition::smallint[], :low::bigint[], :high::bigint[]) AS range ("partition", low, high)
    CROSS JOIN LATERAL (
        SELECT tenant, object, object_id FROM event
        WHERE "partition" = range."partition" AND "offset" > range.low AND "offset" <= range.high AND kind = 0
            AND day >= :since OFFSET 0
    ) AS e
)
DELETE FROM object_entry AS x USING moved AS e, object AS o
WHERE x.tenant = e.tenant AND x.object = e.object AND x.object_id = e.object_id
    AND o.tenant = e.tenant AND o.object = e.object AND o.object_id = e.object_id
    AND x."offset" <> o."offset" AND x."offset" <> o.data_offset

-- has_kept_entries --
-- Say whether anything is kept for objects' rows.
SELECT EXISTS (SELECT 1 FROM object_entry)

-- drop_objects --
-- Drop a project's objects.
WITH gone AS (
    DELETE FROM object WHERE tenant IN (SELECT number FROM tenant WHERE project = :project)
)
DELETE FROM object_entry WHERE tenant IN (SELECT number FROM tenant WHERE project = :project)

-- object --
-- Return an object's state.
SELECT * FROM object_state WHERE tenant = :tenant AND object = :object AND object_id = :object_id

-- objects --
-- Return the state of a tenant's next objects.
SELECT * FROM object_state WHERE tenant = :tenant AND object = :object AND object_id > :after AND NOT is_deleted
ORDER BY object_id LIMIT :limit

-- some_objects --
-- Return the states of some objects of a tenant.
SELECT s.* FROM unnest(:objects::bytea[], :object_ids::bytea[]) AS asked (object, object_id)
JOIN object_state AS s ON s.tenant = :tenant AND s.object = asked.object AND s.object_id = asked.object_id

-- object_kinds --
-- Return which kinds of objects a tenant has or had, leaping from one to the next.
WITH RECURSIVE kind (name) AS (
    (SELECT object FROM object WHERE tenant = :tenant ORDER BY object LIMIT 1)
    UNION ALL
    SELECT (SELECT object FROM object WHERE tenant = :tenant AND object > kind.name ORDER BY object LIMIT 1) FROM kind
    WHERE kind.name IS NOT NULL
)
SELECT name FROM kind WHERE name IS NOT NULL

-- count_objects --
-- Return how many objects of a kind a tenant has.
SELECT count(*) FROM object WHERE tenant = :tenant AND object = :object AND NOT is_deleted

-- folded_to --
-- Return up to which offset a partition is folded.
SELECT "offset" FROM folded WHERE "partition" = :partition

-- last_data --
-- Return an object's last data between two offsets of its partition, the first excluded.
SELECT data FROM event
WHERE tenant = :tenant AND "offset" > :above AND "offset" <= :to AND kind = 0 AND object = :object
    AND object_id = :object_id AND length(data) > 0 AND day >= :since AND day <= :until
ORDER BY "offset" DESC LIMIT 1

-- drop_expired --
-- Drop idempotency keys that have expired, and whose row nobody holds.
DELETE FROM idempotency WHERE (project, key) IN (
    SELECT project, key FROM idempotency WHERE expires_ms <= :now_ms AND places IS NOT NULL
    ORDER BY expires_ms, project, key LIMIT :limit FOR UPDATE SKIP LOCKED
) RETURNING 1

-- drop_once --
-- Forget words that may be used again.
DELETE FROM once WHERE name IN (
    SELECT name FROM once WHERE until_ms <= :now_ms ORDER BY until_ms, name LIMIT :limit FOR UPDATE SKIP LOCKED
) RETURNING 1

-- droppable --
-- Return the partitions whose oldest entry is older than a moment, needed by nobody and of no day that is to go whole,
-- with what was dropped before it and the lowest offset that somebody needs.
SELECT n."partition", n.floor, n.needed FROM needed AS n
CROSS JOIN LATERAL (
    SELECT accepted_ms, day FROM event WHERE "partition" = n."partition" AND "offset" = n.floor + 1 LIMIT 1
) AS e
WHERE e.accepted_ms < :before_ms AND e.day <> ALL(:whole::integer[]) AND n.needed > n.floor + 1 ORDER BY n."partition"

-- old_to --
-- Return the last offset of a partition's next entries that are all older than a moment, and of no day that is to go whole.
SELECT coalesce(
    min("offset") FILTER (WHERE accepted_ms >= :before_ms OR day = ANY(:whole::integer[])), max("offset") + 1
) - 1 FROM (
    SELECT "offset", accepted_ms, day FROM event
    WHERE "partition" = :partition AND "offset" > :floor AND "offset" < :needed ORDER BY "offset" LIMIT :limit
) AS next

-- make_day --
-- Make the tables of a day, counted from the server's today; say whether they are new.
SELECT make_day(floor(extract(epoch FROM now()) / 86400)::integer + :ahead::integer)

-- shield_day --
-- Keep the day that is so many ahead out of the default tables.
SELECT shield_day(floor(extract(epoch FROM now()) / 86400)::integer + :ahead::integer)

-- validate_shields --
-- Look through the default tables for what they are to be kept from.
SELECT validate_shields()

-- drop_shields --
-- Let the default tables hold everything again.
SELECT drop_shields()

-- days --
-- Return which days have tables, and whether a day was dropped within the hour.
SELECT day, (SELECT count(*) > 0 FROM day WHERE dropped_at > now() - interval '1 hour') AS has_gone FROM day
WHERE dropped_at IS NULL ORDER BY day

-- ends_of_day --
-- Return what a day's table holds of each partition that retention has not dropped: up to which offset entries can go
-- from it (none where older ones are left), how many are needed still, and how many there are.
SELECT n."partition", n.floor, CASE WHEN e.first > n.floor + 1 THEN n.floor ELSE e."to" END AS "to",
    e.last - e."to" AS needed, e.last - n.floor AS "left"
FROM needed AS n
CROSS JOIN LATERAL (
    SELECT min("offset") AS first, max("offset") AS last, greatest(least(max("offset"), n.needed - 1), n.floor) AS "to"
    FROM event WHERE "partition" = n."partition" AND "offset" > n.floor AND day = :day::integer
) AS e
WHERE e.last IS NOT NULL ORDER BY n."partition"

-- drop_day --
-- Drop a day's tables.
SELECT drop_day(:day)

-- lock_retained --
-- Hold a partition for retention; return what was dropped.
SELECT floor FROM retained WHERE "partition" = :partition FOR UPDATE

-- delete_gone_objects --
-- Delete objects that were deleted by an event which goes from the log now.
WITH gone AS (
    DELETE FROM object AS o USING event AS e
    WHERE e."partition" = :partition AND e."offset" > :floor AND e."offset" <= :to AND e.kind = 0
        AND o.tenant = e.tenant AND o.object = e.object AND o.object_id = e.object_id AND o."offset" = e."offset"
        AND o.is_deleted AND e.day >= :since AND e.day <= :until
    RETURNING o.tenant, o.object, o.object_id
)
DELETE FROM object_entry AS x USING gone
WHERE x.tenant = gone.tenant AND x.object = gone.object AND x.object_id = gone.object_id

-- keep_entries --
-- Keep entries that go from the log now for the objects' rows that name them.
INSERT INTO object_entry (tenant, object, object_id, "offset", accepted_ms, action, extra, data)
SELECT e.tenant, e.object, e.object_id, e."offset", e.accepted_ms, e.action, e.extra, e.data
FROM event AS e JOIN object AS o ON o.tenant = e.tenant AND o.object = e.object AND o.object_id = e.object_id
WHERE e."partition" = :partition AND e."offset" > :floor AND e."offset" <= :to AND e.kind = 0
    AND (e."offset" = o."offset" OR e."offset" = o.data_offset) AND e.day >= :since AND e.day <= :until
ON CONFLICT DO NOTHING

-- drop_events --
-- Drop a partition's entries up to an offset.
DELETE FROM event WHERE "partition" = :partition AND "offset" > :floor AND "offset" <= :to

-- move_floor --
-- Record the highest offset of a partition that was dropped.
UPDATE retained SET floor = :to WHERE "partition" = :partition

-- drop_members --
-- Drop a partition's members up to an offset.
DELETE FROM member WHERE "partition" = :partition AND "offset" <= :to

-- drop_versions --
-- Drop a partition's versions that were superseded before the first entry that is left.
DELETE FROM subscription_version AS older WHERE "partition" = :partition AND EXISTS (
    SELECT 1 FROM subscription_version AS newer
    WHERE newer.subscription = older.subscription AND newer.from_offset > older.from_offset
        AND newer.from_offset <= :to::bigint + 1
)

-- old_settled --
-- Return settled deliveries of which no entry is left.
SELECT d."partition", d.last_offset, d.subscription, d.last_ms FROM retained AS r
CROSS JOIN LATERAL (
    SELECT * FROM delivery WHERE "partition" = r."partition" AND last_offset <= r.floor AND origin <> 1
    ORDER BY last_offset LIMIT :limit
) AS d
WHERE r.floor > 0 LIMIT :limit

-- old_tests --
-- Return tests that are older than a moment.
SELECT "partition", last_offset, subscription, last_ms FROM delivery WHERE origin = 1 AND last_ms < :before_ms
ORDER BY last_ms, "partition", last_offset, subscription LIMIT :limit

-- drop_attempts --
-- Drop attempts that are older than a moment.
DELETE FROM attempt WHERE ("partition", last_offset, subscription, last_ms, number) IN (
    SELECT "partition", last_offset, subscription, last_ms, number FROM attempt WHERE at_ms < :before_ms
    ORDER BY at_ms, "partition", last_offset, subscription, last_ms, number LIMIT :limit
) RETURNING 1

-- check_offsets --
-- Return the partitions whose log has gaps between what was dropped and its head, or goes beyond it. What was dropped may
-- be there until its day's table goes.
SELECT r."partition", r.floor, p.head, count(e."offset") AS count
FROM retained AS r JOIN "partition" AS p USING ("partition")
LEFT JOIN event AS e ON e."partition" = r."partition" AND e."offset" > r.floor
GROUP BY r."partition", r.floor, p.head
HAVING count(e."offset") <> p.head - r.floor OR count(DISTINCT e."offset") <> p.head - r.floor OR max(e."offset") > p.head
ORDER BY r."partition"

-- check_objects --
-- Return how many objects name an entry that is nowhere.
SELECT count(*) FROM object_state WHERE action IS NULL OR (data_offset > 0 AND data IS NULL)
