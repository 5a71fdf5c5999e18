-- What the SQLite store asks, by name. A block with {order} is loaded twice, as `name_down` (newest first) and `name_up`;
-- one with {scope} for each of project, tenant and subscription, as `name_project` and so on. `{3 each}` stands for as
-- many rows of three values as are written at once.

-- schema_of --
-- Return which migrations the file has had.
SELECT number, name, digest FROM migration ORDER BY number

-- has_tables --
-- Say whether the file holds anything.
SELECT count(*) FROM sqlite_schema

-- has_migrations --
-- Say whether the file has a table of migrations.
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migration'

-- create_migration --
-- Make the table of migrations in a new file.
CREATE TABLE migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL) STRICT

-- add_migration --
-- Record that a migration was made.
INSERT INTO migration (number, name, digest) VALUES (?, ?, ?)

-- meta --
-- Return a named value.
SELECT value FROM meta WHERE name = ?

-- put_meta --
-- Keep a named value.
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- give_number --
-- Give out the next number of a kind.
INSERT INTO number (kind, given) VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET given = given + 1 RETURNING given

-- partitions --
-- Return where each partition stands.
SELECT "partition", head, floor, registry FROM "partition" ORDER BY "partition"

-- move_heads --
-- Record up to which offset each partition is indexed.
UPDATE "partition" SET head = max(head, coalesce((
    SELECT max("offset") FROM event_place WHERE event_place."partition" = "partition"."partition"
), 0))

-- move_registry --
-- Tell the owner of a partition that its subscriptions have changed.
UPDATE "partition" SET registry = ? WHERE "partition" = ?

-- move_floors --
-- Record the highest offsets that were dropped.
WITH moved ("partition", floor) AS (VALUES {2 each})
UPDATE "partition" SET floor = moved.floor FROM moved WHERE "partition"."partition" = moved."partition"

-- last_sequence --
-- Return the last number in commit order that was given out, as far as rows still tell.
SELECT max(coalesce((SELECT max(sequence) FROM event), 0), coalesce((SELECT max(last_sequence) FROM event_zone), 0))

-- add_events --
-- Append entries to the log, in commit order.
INSERT INTO event (
    sequence, "partition", "offset", tenant, accepted_ms, kind, object, action, object_id, crc, extra, data
) VALUES {12 each}

-- indexed_to --
-- Return up to which number in commit order entries are indexed.
SELECT coalesce((SELECT last_sequence FROM event_zone ORDER BY first_sequence DESC LIMIT 1), 0)

-- unindexed --
-- Return which offsets of each partition are not indexed.
SELECT "partition", min("offset"), max("offset"), count(*) FROM event WHERE sequence > ? GROUP BY "partition"

-- index_places --
-- Index entries by their place, those that are not yet.
INSERT INTO event_place
SELECT "partition", "offset", sequence, tenant FROM event WHERE sequence > ? ORDER BY "partition", "offset"

-- index_projects --
-- Index events by their project, those that are not yet.
INSERT INTO event_project
SELECT t.project, e.sequence FROM event AS e CROSS JOIN tenant AS t ON t.number = e.tenant
WHERE e.sequence > ? AND e.kind = 0 ORDER BY t.project, e.sequence

-- add_zone --
-- Say that these entries are indexed now, and when they were accepted.
INSERT INTO event_zone
SELECT min(sequence), max(sequence), min(accepted_ms), max(accepted_ms) FROM event WHERE sequence > ? HAVING count(*) > 0

-- places_after --
-- Return where a partition's next indexed entries lie.
SELECT "offset", sequence FROM event_place
WHERE "partition" = :partition
    AND "offset" > max(:after, (SELECT floor FROM "partition" WHERE "partition" = :partition))
ORDER BY "offset" LIMIT :limit

-- places_at --
-- Return where a partition's indexed entries at some offsets lie.
SELECT place."offset", place.sequence FROM json_each(:offsets) AS asked CROSS JOIN event_place AS place
WHERE place."partition" = :partition AND place."offset" = asked.value

-- places_between --
-- Return which offsets of a partition are indexed: above what was dropped, up to the last.
SELECT floor, head FROM "partition" WHERE "partition" = ?

-- place --
-- Return where an indexed entry of a partition lies.
SELECT sequence FROM event_place WHERE "partition" = ? AND "offset" = ?

-- places_of_tenant --
-- Return where a tenant's indexed entries lie, from one offset of its partition to another.
SELECT sequence FROM event_place WHERE "partition" = ? AND "offset" >= ? AND "offset" <= ? AND tenant = ?
ORDER BY "offset" {order} LIMIT ?

-- entries --
-- Return entries by their numbers in commit order.
SELECT e."partition", e."offset", e.tenant, e.accepted_ms, e.kind, e.object, e.action, e.object_id, e.crc, e.extra, e.data,
    p.name, t.name
FROM json_each(?) AS asked CROSS JOIN event AS e ON e.sequence = asked.value
CROSS JOIN tenant AS t ON t.number = e.tenant CROSS JOIN project AS p ON p.number = t.project

-- tenant_at --
-- Return whose entry this is.
SELECT tenant FROM event WHERE sequence = ?

-- sequences_of_time --
-- Return between which numbers in commit order every indexed entry of a time lies.
SELECT min(first_sequence), max(last_sequence) FROM event_zone WHERE most_ms >= :since AND least_ms < :until

-- listed_by_project --
-- Return the numbers of a project's events between two.
SELECT sequence FROM event_project WHERE project = ? AND sequence > ? AND sequence < ? ORDER BY sequence {order} LIMIT ?

-- fitting --
-- Return those of some entries that are events and fit a filter.
SELECT e.sequence FROM json_each(:sequences) AS asked CROSS JOIN event AS e ON e.sequence = asked.value
WHERE e.kind = 0 AND (:object IS NULL OR e.object = :object) AND (:object_id IS NULL OR e.object_id = :object_id)
    AND (:action IS NULL OR e.action = :action) AND e.accepted_ms >= :since AND e.accepted_ms < :until
LIMIT :limit

-- kept --
-- Return what idempotency keys answer.
WITH asked (project, key) AS (VALUES {2 each})
SELECT project, key, digest, matched, expires_ms, places FROM asked CROSS JOIN idempotency USING (project, key)

-- keep --
-- Keep what idempotency keys answer.
INSERT INTO idempotency (project, key, digest, matched, expires_ms, places) VALUES {6 each}
ON CONFLICT (project, key) DO UPDATE SET digest = excluded.digest, matched = excluded.matched,
    expires_ms = excluded.expires_ms, places = excluded.places

-- give_project_number --
-- Return a project's number, giving it one.
INSERT INTO project (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING number

-- give_tenant_number --
-- Return a tenant's number, giving it one.
INSERT INTO tenant (project, name) VALUES (?, ?)
ON CONFLICT (project, name) DO UPDATE SET name = excluded.name RETURNING number

-- project_number --
-- Return a project's number, if it has one.
SELECT number FROM project WHERE name = ?

-- tenant_number --
-- Return a tenant's number, its project's, and whether it is registered.
SELECT t.number, t.project, t.created_ms IS NOT NULL
FROM project AS p CROSS JOIN tenant AS t ON t.project = p.number WHERE p.name = ? AND t.name = ?

-- put_project --
-- Create or replace a project.
UPDATE project SET created_ms = ?, body = ?, keeps_objects = ? WHERE number = ?

-- has_project --
-- Say whether a project is there.
SELECT 1 FROM project WHERE name = ? AND created_ms IS NOT NULL

-- keeps_objects --
-- Say whether the current state of a project's objects is kept.
SELECT keeps_objects FROM project WHERE name = ?

-- project --
-- Return a project.
SELECT body FROM project WHERE name = ? AND created_ms IS NOT NULL

-- projects --
-- Return the projects between two.
SELECT body FROM project
WHERE created_ms IS NOT NULL AND (created_ms, name) > (:above_ms, :above) AND (created_ms, name) < (:below_ms, :below)
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- forget_project --
-- Leave nothing of a project but its number.
UPDATE project SET created_ms = NULL, body = NULL, keeps_objects = 1 WHERE name = ?

-- forget_tenants --
-- Leave nothing of a project's tenants but their numbers.
UPDATE tenant SET created_ms = NULL, body = NULL
WHERE project = (SELECT number FROM project WHERE name = ?) AND created_ms IS NOT NULL

-- put_tenant --
-- Create or replace a tenant.
UPDATE tenant SET created_ms = ?, body = ? WHERE number = ?

-- tenant --
-- Return a tenant.
SELECT t.body FROM project AS p CROSS JOIN tenant AS t ON t.project = p.number
WHERE p.name = ? AND t.name = ? AND t.created_ms IS NOT NULL

-- tenants --
-- Return a project's tenants between two.
SELECT body FROM tenant
WHERE project = :project AND created_ms IS NOT NULL
    AND (created_ms, name) > (:above_ms, :above) AND (created_ms, name) < (:below_ms, :below)
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- put_key --
-- Create or replace an API key.
INSERT INTO api_key (number, digest, project, body) VALUES (?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET digest = excluded.digest, project = excluded.project, body = excluded.body

-- key_of --
-- Return the API key with this digest.
SELECT body FROM api_key WHERE digest = ?

-- key --
-- Return an API key.
SELECT body FROM api_key WHERE number = ?

-- keys --
-- Return a project's API keys between two numbers.
SELECT body FROM api_key WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- delete_key --
-- Delete an API key.
DELETE FROM api_key WHERE number = ? RETURNING number

-- delete_keys --
-- Delete a project's API keys.
DELETE FROM api_key WHERE project = ?

-- put_app --
-- Create or replace an app.
INSERT INTO app (number, project, body) VALUES (?, ?, ?)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, body = excluded.body

-- app --
-- Return an app.
SELECT body FROM app WHERE number = ?

-- apps --
-- Return a project's apps between two numbers.
SELECT body FROM app WHERE project = :project AND number > :above AND number < :below
ORDER BY number {order} LIMIT :limit

-- delete_app --
-- Delete an app.
DELETE FROM app WHERE number = ? RETURNING number

-- delete_apps --
-- Delete a project's apps.
DELETE FROM app WHERE project = ?

-- put_grant --
-- Create or replace a grant.
INSERT INTO app_grant (number, project, app, digest, code, expires_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, app = excluded.app, digest = excluded.digest,
    code = excluded.code, expires_ms = excluded.expires_ms, body = excluded.body

-- grant --
-- Return a grant.
SELECT body FROM app_grant WHERE number = ?

-- grant_by_token --
-- Return the grant whose access token has this digest.
SELECT body FROM app_grant WHERE digest = ? AND digest <> x'' ORDER BY number LIMIT 1

-- grant_by_code --
-- Return the grant whose code has this digest.
SELECT body FROM app_grant WHERE code = ? AND code <> x'' ORDER BY number LIMIT 1

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
SELECT body FROM app_grant WHERE expires_ms < ? ORDER BY expires_ms, number LIMIT ?

-- delete_grant --
-- Delete a grant.
DELETE FROM app_grant WHERE number = ? RETURNING number

-- delete_grants_of --
-- Delete an app's grants.
DELETE FROM app_grant WHERE app = ?

-- delete_grants --
-- Delete a project's grants.
DELETE FROM app_grant WHERE project = ?

-- take_once --
-- Take a word that was not taken, or is forgotten by now.
INSERT INTO once (name, until_ms) VALUES (:name, :until)
ON CONFLICT (name) DO UPDATE SET until_ms = excluded.until_ms WHERE until_ms <= :now RETURNING 1

-- put_subscription --
-- Create or replace a subscription.
INSERT INTO subscription (number, project, tenant, status, external_id, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, tenant = excluded.tenant, status = excluded.status,
    external_id = excluded.external_id, body = excluded.body

-- put_owner --
-- Remember whose a subscription is.
INSERT INTO owner (subscription, project, tenant, "partition") VALUES (?, ?, ?, ?)
ON CONFLICT (subscription) DO UPDATE SET project = excluded.project, tenant = excluded.tenant

-- owners --
-- Return whose some subscriptions are or were.
SELECT subscription, project, tenant FROM owner WHERE subscription IN (VALUES {1 each})

-- subscription --
-- Return a subscription.
SELECT body FROM subscription WHERE number = ?

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
WHERE project = (SELECT number FROM project WHERE name = ?) AND external_id = ? AND external_id <> ''
ORDER BY number LIMIT 1

-- all_subscriptions_of_tenant --
-- Return all subscriptions of a tenant.
SELECT body FROM subscription WHERE tenant = ? ORDER BY number

-- all_subscriptions_of_project --
-- Return all subscriptions of a project.
SELECT body FROM subscription WHERE project = (SELECT number FROM project WHERE name = ?) ORDER BY number

-- put_version --
-- Keep what is in force for a subscription from an offset on.
INSERT INTO subscription_version (subscription, from_offset, "partition", body) VALUES (?, ?, ?, ?)

-- versions_of --
-- Return all versions of a tenant's living subscriptions.
SELECT v.body FROM subscription AS s CROSS JOIN subscription_version AS v ON v.subscription = s.number
WHERE s.tenant = ? ORDER BY s.number, v.from_offset

-- delete_subscription --
-- Delete a subscription.
DELETE FROM subscription WHERE number = ?

-- delete_versions --
-- Delete what was in force for a subscription.
DELETE FROM subscription_version WHERE subscription = ?

-- delete_lane_of --
-- Delete a subscription's behind lane.
DELETE FROM lane WHERE "partition" = ? AND subscription = ?

-- delete_opens_of --
-- Delete a subscription's open deliveries.
DELETE FROM open WHERE subscription = ?

-- close --
-- Delete open deliveries.
DELETE FROM open WHERE ("partition", last_offset, subscription, last_ms) IN (VALUES {4 each})

-- put_opens --
-- Write or replace open deliveries. Only what an attempt changes is replaced: the rest follows from the key.
INSERT INTO open ("partition", last_offset, subscription, last_ms, project, tenant, origin, first_offset, record)
VALUES {9 each}
ON CONFLICT ("partition", last_offset, subscription, last_ms) DO UPDATE SET origin = excluded.origin,
    first_offset = excluded.first_offset, record = excluded.record

-- add_members --
-- Remember which delivery settles events that are not its last.
INSERT OR IGNORE INTO member ("partition", "offset", last_offset, subscription, last_ms) VALUES {5 each}

-- add_settled --
-- Write how deliveries ended, in commit order.
INSERT INTO delivery_lately (
    "partition", last_offset, subscription, last_ms, project, tenant, state, origin, first_offset, record
) VALUES {10 each}

-- delete_settled_lately --
-- Delete how deliveries ended, when it was lately.
DELETE FROM delivery_lately WHERE ("partition", last_offset, subscription, last_ms) IN (VALUES {4 each})
RETURNING project, state, record, NULL

-- delete_settled --
-- Delete how deliveries ended, when it was longer ago.
DELETE FROM delivery WHERE ("partition", last_offset, subscription, last_ms) IN (VALUES {4 each})
RETURNING project, state, record, lot

-- release_lot --
-- Take note that a lot holds so many deliveries fewer.
UPDATE delivery_lot SET held = held - ? WHERE lot = ? RETURNING held

-- drop_lot --
-- Drop a lot that holds no delivery any more.
DELETE FROM delivery_lot WHERE lot = ?

-- drop_lot_index --
-- Drop what such a lot names.
DELETE FROM delivery_in_lot WHERE lot = ?

-- moved_to --
-- Return the highest last offset under which a delivery of each partition was moved, tests aside.
SELECT p."partition", (
    SELECT max(last_offset) FROM delivery WHERE "partition" = p."partition" AND last_offset < :tests
) FROM "partition" AS p

-- move_lately --
-- Put under their keys the deliveries that were settled lately.
INSERT OR REPLACE INTO delivery
SELECT "partition", last_offset, subscription, last_ms, project, tenant, state, origin, first_offset, ?, record
FROM delivery_lately ORDER BY "partition", last_offset, subscription, last_ms

-- next_lot --
-- Return the number of the next lot.
SELECT coalesce(max(lot), 0) + 1 FROM delivery_lot

-- index_lot --
-- Index the deliveries that were settled lately by tenant and subscription.
INSERT INTO delivery_in_lot
SELECT ?, tenant, subscription, last_ms, "partition", last_offset FROM delivery_lately
ORDER BY tenant, subscription, last_ms, "partition", last_offset

-- add_lot --
-- Say that the deliveries that were settled lately are a lot.
INSERT INTO delivery_lot SELECT ?, min(last_ms), max(last_ms), count(*) FROM delivery_lately HAVING count(*) > 0

-- empty_lately --
-- Forget what was moved.
DELETE FROM delivery_lately

-- count_settled --
-- Count deliveries that were settled, or dropped.
INSERT INTO delivery_count (project, state, total) VALUES {3 each}
ON CONFLICT (project, state) DO UPDATE SET total = total + excluded.total

-- counts --
-- Return how many deliveries of a project are in each settled state.
SELECT state, total FROM delivery_count WHERE project = ? AND total > 0

-- count_open --
-- Return how many deliveries of a project are open.
SELECT count(*) FROM open WHERE project = ?

-- add_attempts --
-- Write failed attempts.
INSERT OR REPLACE INTO attempt ("partition", last_offset, subscription, last_ms, number, at_ms, body) VALUES {7 each}

-- put_lanes --
-- Write or replace behind lanes' rows.
INSERT INTO lane ("partition", subscription, "cursor", body) VALUES {4 each}
ON CONFLICT ("partition", subscription) DO UPDATE SET "cursor" = excluded."cursor", body = excluded.body

-- delete_lanes --
-- Delete behind lanes' rows.
DELETE FROM lane WHERE ("partition", subscription) IN (VALUES {2 each})

-- put_watermarks --
-- Move partitions' watermarks.
INSERT INTO progress ("partition", watermark) VALUES {2 each}
ON CONFLICT ("partition") DO UPDATE SET watermark = excluded.watermark

-- watermarks --
-- Return the watermarks above 0.
SELECT "partition", watermark FROM progress WHERE watermark > 0 ORDER BY "partition"

-- lanes --
-- Return the rows of all behind lanes.
SELECT body FROM lane ORDER BY "partition", subscription

-- lanes_of_project --
-- Return the rows of a project's behind lanes.
SELECT l.body FROM lane AS l JOIN owner AS o ON o.subscription = l.subscription WHERE o.project = ?

-- failed_of_project --
-- Return the subscriptions of a project of whose lanes an open delivery has failed before.
SELECT DISTINCT o.subscription FROM open AS o WHERE o.project = ? AND o.origin = 0 AND EXISTS (
    SELECT 1 FROM attempt AS a WHERE a."partition" = o."partition" AND a.last_offset = o.last_offset
        AND a.subscription = o.subscription AND a.last_ms = o.last_ms
)

-- lane --
-- Return a behind lane's row.
SELECT body FROM lane WHERE "partition" = ? AND subscription = ?

-- opens --
-- Return all open deliveries.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
ORDER BY "partition", last_offset, subscription, last_ms

-- open --
-- Return an open delivery.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?

-- settled --
-- Return how a delivery ended, when it was longer ago.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?

-- settled_lately --
-- Return how a delivery ended, when it was lately.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery_lately
WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?

-- settled_after --
-- Return how deliveries ended whose last event stands above an offset.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE "partition" = :partition AND last_offset > :offset
UNION ALL SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery_lately
WHERE "partition" = :partition AND last_offset > :offset

-- settled_of_event --
-- Return how deliveries of an event ended: as their last, among their members, or in a range of its tenant's.
SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record FROM delivery AS d
WHERE d."partition" = :partition AND d.last_offset = :offset
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM member AS m CROSS JOIN delivery AS d ON d."partition" = m."partition" AND d.last_offset = m.last_offset
    AND d.subscription = m.subscription AND d.last_ms = m.last_ms
WHERE m."partition" = :partition AND m."offset" = :offset
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record FROM delivery AS d
WHERE d.tenant = :tenant AND d.last_offset > :offset AND d.first_offset <= :offset AND d.first_offset IS NOT NULL
    AND d."partition" = :partition
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM delivery_lately AS d
WHERE d."partition" = :partition AND (
    d.last_offset = :offset OR (d.tenant = :tenant AND d.first_offset <= :offset AND d.last_offset > :offset)
    OR EXISTS (
        SELECT 1 FROM member AS m WHERE m."partition" = d."partition" AND m."offset" = :offset
            AND m.last_offset = d.last_offset AND m.subscription = d.subscription AND m.last_ms = d.last_ms
    )
)

-- opens_of_event --
-- Return the open deliveries of an event: as their last, or among their members.
SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.origin, d.record FROM open AS d
WHERE d."partition" = :partition AND d.last_offset = :offset
UNION SELECT d.project, d.tenant, d."partition", d.last_offset, d.subscription, d.last_ms, d.origin, d.record
FROM member AS m CROSS JOIN open AS d ON d."partition" = m."partition" AND d.last_offset = m.last_offset
    AND d.subscription = m.subscription AND d.last_ms = m.last_ms
WHERE m."partition" = :partition AND m."offset" = :offset

-- lots_down --
-- Return the lots that hold deliveries of a time, the newest first.
SELECT lot, most_ms FROM delivery_lot WHERE most_ms >= :above_ms AND least_ms <= :below_ms ORDER BY most_ms DESC

-- lots_up --
-- Return the lots that hold deliveries of a time, the oldest first.
SELECT lot, least_ms FROM delivery_lot WHERE most_ms >= :above_ms AND least_ms <= :below_ms ORDER BY least_ms

-- list_lot_of_tenant --
-- Return how a tenant's deliveries of a lot ended, between two of them.
SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM delivery_in_lot AS i CROSS JOIN delivery AS d ON d."partition" = i."partition" AND d.last_offset = i.last_offset
    AND d.subscription = i.subscription AND d.last_ms = i.last_ms AND d.lot = i.lot
WHERE i.lot = :lot AND i.tenant = :tenant AND (:state IS NULL OR d.state = :state)
    AND (i.last_ms, i."partition", i.last_offset, i.subscription)
        > (:above_ms, :above_partition, :above_offset, :above)
    AND (i.last_ms, i."partition", i.last_offset, i.subscription)
        < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY i.last_ms {order}, i."partition" {order}, i.last_offset {order}, i.subscription {order} LIMIT :limit

-- list_lot_of_subscription --
-- Return how a subscription's deliveries of a lot ended, between two of them.
SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.origin, d.record
FROM delivery_in_lot AS i CROSS JOIN delivery AS d ON d."partition" = i."partition" AND d.last_offset = i.last_offset
    AND d.subscription = i.subscription AND d.last_ms = i.last_ms AND d.lot = i.lot
WHERE i.lot = :lot AND i.tenant = :tenant AND i.subscription = :scope AND (:state IS NULL OR d.state = :state)
    AND (i.last_ms, i."partition", i.last_offset, i.subscription)
        > (:above_ms, :above_partition, :above_offset, :above)
    AND (i.last_ms, i."partition", i.last_offset, i.subscription)
        < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY i.last_ms {order}, i."partition" {order}, i.last_offset {order} LIMIT :limit

-- list_settled --
-- Return how a project's deliveries ended, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE project = :scope AND (:state IS NULL OR state = :state)
    AND (last_ms, "partition", last_offset, subscription) > (:above_ms, :above_partition, :above_offset, :above)
    AND (last_ms, "partition", last_offset, subscription) < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_failed --
-- Return deliveries that ended in one of the rarer states, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery
WHERE {scope} = :scope AND state = :state AND state > 0
    AND (last_ms, "partition", last_offset, subscription) > (:above_ms, :above_partition, :above_offset, :above)
    AND (last_ms, "partition", last_offset, subscription) < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_lately --
-- Return how deliveries ended lately, between two of them.
SELECT "partition", last_offset, subscription, last_ms, state, origin, record FROM delivery_lately
WHERE {scope} = :scope AND (:state IS NULL OR state = :state)
    AND (last_ms, "partition", last_offset, subscription) > (:above_ms, :above_partition, :above_offset, :above)
    AND (last_ms, "partition", last_offset, subscription) < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- list_opens --
-- Return open deliveries, between two of them.
SELECT "partition", last_offset, subscription, last_ms, origin, record FROM open
WHERE {scope} = :scope
    AND (last_ms, "partition", last_offset, subscription) > (:above_ms, :above_partition, :above_offset, :above)
    AND (last_ms, "partition", last_offset, subscription) < (:below_ms, :below_partition, :below_offset, :below)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- attempts --
-- Return a delivery's failed attempts.
SELECT "partition", last_offset, subscription, last_ms, number, at_ms, body FROM attempt
WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ? ORDER BY number

-- put_job --
-- Create or replace a job.
INSERT INTO job (number, project, tenant, state, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, tenant = excluded.tenant, state = excluded.state,
    body = excluded.body

-- job --
-- Return a job.
SELECT body FROM job WHERE number = ?

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
SELECT body FROM job WHERE state = ? ORDER BY number

-- delete_jobs --
-- Delete a project's jobs.
DELETE FROM job WHERE project = ?

-- drop_kept --
-- Drop idempotency keys that have expired.
DELETE FROM idempotency WHERE (project, key) IN (
    SELECT project, key FROM idempotency WHERE expires_ms <= ? ORDER BY expires_ms, project, key LIMIT ?
) RETURNING 1

-- drop_once --
-- Forget words that may be used again.
DELETE FROM once WHERE name IN (SELECT name FROM once WHERE until_ms <= ? ORDER BY until_ms, name LIMIT ?) RETURNING 1

-- folded_to --
-- Return up to which number in commit order events are folded.
SELECT sequence FROM folded

-- move_folded --
-- Record how far events are folded.
UPDATE folded SET sequence = ?

-- fold --
-- Fold events between two numbers in commit order into their objects' rows. A group's last event is the largest of its
-- numbers, each doubled, and one more for a deletion.
INSERT INTO object (tenant, object, object_id, sequence, data_sequence, is_deleted)
SELECT tenant, object, object_id, last / 2, data_sequence, last % 2 FROM (
    SELECT e.tenant, e.object, e.object_id, max(e.sequence * 2 + (e.action = 'delete')) AS last,
        max(iif(length(e.data) > 0, e.sequence, 0)) AS data_sequence
    FROM event AS e CROSS JOIN tenant AS t ON t.number = e.tenant CROSS JOIN project AS p ON p.number = t.project
    WHERE e.sequence > ? AND e.sequence <= ? AND e.kind = 0 AND p.keeps_objects
    GROUP BY e.tenant, e.object, e.object_id
)
WHERE true
ON CONFLICT (tenant, object, object_id) DO UPDATE SET sequence = excluded.sequence, is_deleted = excluded.is_deleted,
    data_sequence = max(data_sequence, excluded.data_sequence)

-- object --
-- Return which events an object's state consists of.
SELECT sequence, data_sequence FROM object WHERE tenant = ? AND object = ? AND object_id = ?

-- objects --
-- Return which events the state of a tenant's next objects consists of.
SELECT sequence, data_sequence FROM object WHERE tenant = ? AND object = ? AND object_id > ? AND NOT is_deleted
ORDER BY object_id LIMIT ?

-- object_kinds --
-- Return which kinds of objects a tenant has or had, leaping from one to the next.
WITH RECURSIVE kind (name) AS (
    SELECT min(object) FROM object WHERE tenant = :tenant
    UNION ALL
    SELECT (SELECT min(object) FROM object WHERE tenant = :tenant AND object > kind.name) FROM kind
    WHERE kind.name IS NOT NULL
)
SELECT name FROM kind WHERE name IS NOT NULL

-- count_objects --
-- Return how many objects of a kind a tenant has.
SELECT count(*) FROM object WHERE tenant = ? AND object = ? AND NOT is_deleted

-- state_entries --
-- Return entries that objects' rows name, each where it lies, with their numbers in commit order.
SELECT e."partition", e."offset", e.tenant, e.accepted_ms, e.kind, e.object, e.action, e.object_id, e.crc, e.extra, e.data,
    p.name, t.name, e.sequence
FROM json_each(:sequences) AS asked CROSS JOIN event AS e ON e.sequence = asked.value
CROSS JOIN tenant AS t ON t.number = e.tenant CROSS JOIN project AS p ON p.number = t.project
UNION ALL
SELECT e."partition", e."offset", e.tenant, e.accepted_ms, e.kind, e.object, e.action, e.object_id, e.crc, e.extra, e.data,
    p.name, t.name, e.sequence
FROM json_each(:sequences) AS asked CROSS JOIN object_entry AS e ON e.sequence = asked.value
CROSS JOIN tenant AS t ON t.number = e.tenant CROSS JOIN project AS p ON p.number = t.project

-- last_data --
-- Return the first of some entries that is an event of an object and has data.
SELECT e.sequence FROM json_each(:sequences) AS asked CROSS JOIN event AS e ON e.sequence = asked.value
WHERE e.kind = 0 AND e.object = :object AND e.object_id = :object_id AND length(e.data) > 0 LIMIT 1

-- last_data_between --
-- Return an object's last event with data between two numbers in commit order.
SELECT e.sequence FROM event AS e
WHERE e.sequence > :above AND e.sequence <= :to AND e.kind = 0 AND e.tenant = :tenant AND e.object = :object
    AND e.object_id = :object_id AND length(e.data) > 0
ORDER BY e.sequence DESC LIMIT 1

-- old_objects --
-- Return those of some entries that objects' rows name, with which row it is and what is to become of it.
WITH old (sequence) AS (VALUES {1 each})
SELECT old.sequence, o.tenant, o.object, o.object_id, o.is_deleted AND o.sequence = old.sequence
FROM old CROSS JOIN event AS e ON e.sequence = old.sequence
CROSS JOIN object AS o ON o.tenant = e.tenant AND o.object = e.object AND o.object_id = e.object_id
WHERE e.kind = 0 AND old.sequence IN (o.sequence, o.data_sequence)

-- keep_entries --
-- Keep entries that go from the log for the objects' rows that name them.
INSERT INTO object_entry SELECT * FROM event WHERE sequence IN (VALUES {1 each})

-- delete_objects --
-- Delete objects' rows.
DELETE FROM object WHERE (tenant, object, object_id) IN (VALUES {3 each})

-- objects_of_project --
-- Return some of a project's objects.
SELECT o.tenant, o.object, o.object_id FROM project AS p CROSS JOIN tenant AS t ON t.project = p.number
CROSS JOIN object AS o ON o.tenant = t.number WHERE p.name = ? LIMIT ?

-- needed_from --
-- Return the lowest offset of each partition that its watermark, a behind lane or an open delivery still needs.
SELECT p."partition", min(
    coalesce((SELECT watermark FROM progress WHERE "partition" = p."partition"), 0) + 1,
    coalesce((SELECT min("cursor") + 1 FROM lane WHERE "partition" = p."partition"), :none),
    coalesce((SELECT min(first_offset) FROM open WHERE "partition" = p."partition" AND origin <> 1), :none)
) FROM "partition" AS p ORDER BY p."partition"

-- old_to --
-- Return the last number in commit order of the zones that hold entries older than a moment.
SELECT max(last_sequence) FROM event_zone WHERE least_ms < ?

-- old_entries --
-- Return the entries between two numbers in commit order, with when they were accepted.
SELECT e.sequence, e."partition", e."offset", t.project, e.accepted_ms
FROM event AS e CROSS JOIN tenant AS t ON t.number = e.tenant
WHERE e.sequence > ? AND e.sequence <= ? ORDER BY e.sequence LIMIT ?

-- drop_events --
-- Drop entries.
DELETE FROM event WHERE sequence IN (VALUES {1 each})

-- drop_places --
-- Drop a partition's entries from the index of places, up to an offset.
DELETE FROM event_place WHERE "partition" = ? AND "offset" <= ?

-- drop_projects --
-- Drop events from the index of projects.
DELETE FROM event_project WHERE (project, sequence) IN (VALUES {2 each})

-- drop_members --
-- Drop members, up to an offset.
DELETE FROM member WHERE "partition" = ? AND "offset" <= ?

-- drop_zones --
-- Drop zones of which no entry is left, never the last, which says how far the index goes.
DELETE FROM event_zone WHERE last_sequence < min(
    coalesce((SELECT min(sequence) FROM event), 9223372036854775807),
    (SELECT max(last_sequence) FROM event_zone)
)

-- old_settled --
-- Return settled deliveries of which no entry is left.
SELECT d."partition", d.last_offset, d.subscription, d.last_ms FROM "partition" AS p
CROSS JOIN delivery AS d ON d."partition" = p."partition" AND d.last_offset <= p.floor
WHERE d.origin <> 1 LIMIT ?

-- old_tests --
-- Return tests that are older than a moment.
SELECT "partition", last_offset, subscription, last_ms FROM delivery WHERE origin = 1 AND last_ms < ?
ORDER BY last_ms, "partition", last_offset, subscription LIMIT ?

-- drop_attempts --
-- Drop attempts that are older than a moment.
DELETE FROM attempt WHERE ("partition", last_offset, subscription, last_ms, number) IN (
    SELECT "partition", last_offset, subscription, last_ms, number FROM attempt WHERE at_ms < ?
    ORDER BY at_ms, "partition", last_offset, subscription, last_ms, number LIMIT ?
) RETURNING 1

-- drop_versions --
-- Drop a partition's versions that were superseded before the first entry that is left.
DELETE FROM subscription_version WHERE "partition" = :partition AND EXISTS (
    SELECT 1 FROM subscription_version AS newer
    WHERE newer.subscription = subscription_version.subscription
        AND newer.from_offset > subscription_version.from_offset AND newer.from_offset <= :floor + 1
)

-- check --
-- Say what is wrong with the file; one row of `ok` when nothing is.
PRAGMA integrity_check

-- check_offsets --
-- Return the partitions whose log has gaps above what was dropped, or goes beyond its head.
SELECT p."partition", count(e."offset"), min(e."offset"), max(e."offset")
FROM "partition" AS p CROSS JOIN event_place AS e ON e."partition" = p."partition" AND e."offset" > p.floor
GROUP BY p."partition"
HAVING min(e."offset") <> p.floor + 1 OR max(e."offset") - min(e."offset") + 1 <> count(e."offset")
    OR max(e."offset") > p.head

-- check_objects --
-- Return how many objects name an entry that is nowhere.
SELECT count(*) FROM object AS o
WHERE NOT EXISTS (SELECT 1 FROM event WHERE sequence = o.sequence)
    AND NOT EXISTS (SELECT 1 FROM object_entry WHERE sequence = o.sequence)
    OR o.data_sequence > 0 AND NOT EXISTS (SELECT 1 FROM event WHERE sequence = o.data_sequence)
    AND NOT EXISTS (SELECT 1 FROM object_entry WHERE sequence = o.data_sequence)
