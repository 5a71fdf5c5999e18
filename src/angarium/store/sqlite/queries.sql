-- What the SQLite store asks, by name. A block that goes both ways is loaded twice, for pages after and before a cursor.

-- schema_of --
-- Return which migrations the file has had.
SELECT number, name, digest FROM migration ORDER BY number

-- create_migration --
-- Make the table of migrations in a new file.
CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL) STRICT

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

-- move_head --
-- Record the offset that was given out last.
UPDATE "partition" SET head = ? WHERE "partition" = ?

-- move_registry --
-- Tell the owner of a partition that its subscriptions have changed.
UPDATE "partition" SET registry = ? WHERE "partition" = ?

-- move_floor --
-- Record the highest offset that was dropped.
UPDATE "partition" SET floor = ? WHERE "partition" = ?

-- last_sequence --
-- Return the last number in commit order that was ever given out, as far as rows still tell.
SELECT max(coalesce((SELECT max(sequence) FROM event), 0), coalesce((SELECT max(last_sequence) FROM event_zone), 0))

-- add_events --
-- Append entries to the log, in commit order.
INSERT INTO event (sequence, "partition", "offset", tenant, accepted_ms, kind, object, action, object_id, extra, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- indexed_to --
-- Return up to which number in commit order entries are indexed.
SELECT coalesce((SELECT last_sequence FROM event_zone ORDER BY first_sequence DESC LIMIT 1), 0)

-- index_places --
-- Index entries by their place, those that are not yet.
INSERT INTO event_place SELECT "partition", "offset", sequence FROM event WHERE sequence > ? ORDER BY "partition", "offset"

-- index_tenants --
-- Index entries by their tenant, those that are not yet.
INSERT INTO event_tenant SELECT tenant, sequence FROM event WHERE sequence > ? ORDER BY tenant, sequence

-- add_zone --
-- Say that these entries are indexed now, and when they were accepted.
INSERT INTO event_zone
SELECT min(sequence), max(sequence), min(accepted_ms), max(accepted_ms) FROM event WHERE sequence > ? HAVING count(*) > 0

-- read --
-- Return a partition's entries after an offset.
WITH wanted AS (
    SELECT * FROM (
        SELECT sequence FROM event_place WHERE "partition" = :partition AND "offset" > :after ORDER BY "offset" LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT sequence FROM event
        WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM event_zone) AND "partition" = :partition
            AND "offset" > :after
        ORDER BY sequence LIMIT :limit
    )
)
SELECT sequence, "partition", "offset", accepted_ms, kind, p.name, t.name, object, action, object_id, extra, data
FROM wanted CROSS JOIN event USING (sequence) CROSS JOIN tenant AS t ON t.number = event.tenant
CROSS JOIN project AS p ON p.number = t.project LIMIT :limit

-- read_tenant --
-- Return a tenant's entries after an offset of its partition.
WITH wanted AS (
    SELECT * FROM (
        SELECT sequence FROM event_tenant
        WHERE tenant = :tenant AND sequence > coalesce((
            SELECT sequence FROM event_place WHERE "partition" = :partition AND "offset" <= :after
            ORDER BY "offset" DESC LIMIT 1
        ), 0)
        ORDER BY sequence LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT sequence FROM event
        WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM event_zone) AND tenant = :tenant
        ORDER BY sequence
    )
)
SELECT sequence, "partition", "offset", accepted_ms, kind, p.name, t.name, object, action, object_id, extra, data
FROM wanted CROSS JOIN event USING (sequence) CROSS JOIN tenant AS t ON t.number = event.tenant
CROSS JOIN project AS p ON p.number = t.project
WHERE "offset" > :after LIMIT :limit

-- entries --
-- Return a partition's entries at some offsets.
WITH asked AS (SELECT value AS "offset" FROM json_each(:offsets)), wanted AS (
    SELECT sequence FROM asked CROSS JOIN event_place USING ("offset") WHERE "partition" = :partition
    UNION ALL SELECT sequence FROM event
    WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM event_zone) AND "partition" = :partition
        AND "offset" IN (SELECT "offset" FROM asked)
)
SELECT sequence, "partition", "offset", accepted_ms, kind, p.name, t.name, object, action, object_id, extra, data
FROM wanted CROSS JOIN event USING (sequence) CROSS JOIN tenant AS t ON t.number = event.tenant
CROSS JOIN project AS p ON p.number = t.project

-- entries_by_sequence --
-- Return entries by their numbers in commit order.
SELECT sequence, "partition", "offset", accepted_ms, kind, p.name, t.name, object, action, object_id, extra, data
FROM json_each(:sequences) AS asked CROSS JOIN event ON event.sequence = asked.value
CROSS JOIN tenant AS t ON t.number = event.tenant CROSS JOIN project AS p ON p.number = t.project

-- tenant_at --
-- Return whose entry stands at a place.
SELECT tenant FROM event_place JOIN event USING (sequence)
WHERE event_place."partition" = :partition AND event_place."offset" = :offset
UNION ALL SELECT tenant FROM event
WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM event_zone) AND "partition" = :partition
    AND "offset" = :offset

-- sequence_span --
-- Return the numbers in commit order between which every entry of a time lies.
SELECT min(first_sequence), max(last_sequence) FROM (
    SELECT first_sequence, last_sequence FROM event_zone WHERE most_ms >= :since AND least_ms < :until
    UNION ALL SELECT min(sequence), max(sequence) FROM event WHERE sequence > :indexed
)

-- events_of_tenant, both ways --
-- Return a tenant's events beyond a number in commit order that fit a filter, among the next so many entries.
SELECT sequence FROM (
    SELECT sequence, kind, object, object_id, action, accepted_ms FROM (
        SELECT * FROM (
            SELECT sequence FROM event_tenant WHERE tenant = :tenant AND sequence {beyond} :from
            ORDER BY sequence {order} LIMIT :looked_at
        ) UNION ALL
        SELECT sequence FROM event WHERE sequence > :indexed AND tenant = :tenant AND sequence {beyond} :from
    ) CROSS JOIN event USING (sequence) ORDER BY sequence {order} LIMIT :looked_at
) WHERE kind = 0 AND (:object IS NULL OR object = :object) AND (:object_id IS NULL OR object_id = :object_id)
    AND (:action IS NULL OR action = :action) AND accepted_ms >= :since AND accepted_ms < :until
LIMIT :limit

-- events_of_tenant_edge, both ways --
-- Return how many of the next entries of a tenant there are, and the last number among them.
SELECT count(*), min(sequence), max(sequence) FROM (
    SELECT sequence FROM (
        SELECT * FROM (
            SELECT sequence FROM event_tenant WHERE tenant = :tenant AND sequence {beyond} :from
            ORDER BY sequence {order} LIMIT :looked_at
        ) UNION ALL
        SELECT sequence FROM event WHERE sequence > :indexed AND tenant = :tenant AND sequence {beyond} :from
    ) ORDER BY sequence {order} LIMIT :looked_at
)

-- events_of_project, both ways --
-- Return a project's events beyond a number in commit order that fit a filter, among the next so many entries of all.
SELECT sequence FROM (
    SELECT sequence, tenant, kind, object, object_id, action, accepted_ms FROM event
    WHERE sequence {beyond} :from ORDER BY sequence {order} LIMIT :looked_at
) WHERE kind = 0 AND tenant IN (SELECT number FROM tenant WHERE project = :project)
    AND (:object IS NULL OR object = :object) AND (:object_id IS NULL OR object_id = :object_id)
    AND (:action IS NULL OR action = :action) AND accepted_ms >= :since AND accepted_ms < :until
LIMIT :limit

-- events_of_project_edge, both ways --
-- Return how many of the next entries there are, and the last number among them.
SELECT count(*), min(sequence), max(sequence) FROM (
    SELECT sequence FROM event WHERE sequence {beyond} :from ORDER BY sequence {order} LIMIT :looked_at
)

-- kept --
-- Return what an idempotency key answers.
SELECT digest, matched, expires_ms, places FROM idempotency WHERE project = ? AND key = ?

-- keep --
-- Keep what an idempotency key answers.
INSERT INTO idempotency (project, key, digest, matched, expires_ms, places) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (project, key) DO UPDATE SET digest = excluded.digest, matched = excluded.matched,
    expires_ms = excluded.expires_ms, places = excluded.places

-- project_number --
-- Return a project's number, giving it one.
INSERT INTO project (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = name RETURNING number

-- tenant_number --
-- Return a tenant's number, giving it one.
INSERT INTO tenant (project, name) VALUES (?, ?) ON CONFLICT (project, name) DO UPDATE SET name = name RETURNING number

-- find_project_number --
-- Return a project's number, if it has one.
SELECT number FROM project WHERE name = ?

-- find_tenant_number --
-- Return a tenant's number, if it has one.
SELECT t.number FROM project AS p JOIN tenant AS t ON t.project = p.number WHERE p.name = ? AND t.name = ?

-- tenant_numbers --
-- Return the numbers of a project's tenants, if they are not more than a limit.
SELECT number FROM tenant WHERE project = ? LIMIT ?

-- register_tenant --
-- Let a tenant come into being, unless it is there.
UPDATE tenant SET created_ms = ?, body = ? WHERE number = ? AND created_ms IS NULL

-- put_project --
-- Create or replace a project.
UPDATE project SET created_ms = ?, body = ? WHERE number = ?

-- has_project --
-- Say whether a project is there.
SELECT 1 FROM project WHERE name = ? AND created_ms IS NOT NULL

-- project --
-- Return a project.
SELECT body FROM project WHERE name = ? AND created_ms IS NOT NULL

-- projects, both ways --
-- Return the projects beyond a cursor.
SELECT body FROM project WHERE created_ms IS NOT NULL AND (:ms IS NULL OR (created_ms, name) {beyond} (:ms, :name))
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- forget_project --
-- Leave nothing of a project but its number.
UPDATE project SET created_ms = NULL, body = NULL WHERE name = ?

-- forget_tenants --
-- Leave nothing of a project's tenants but their numbers.
UPDATE tenant SET created_ms = NULL, body = NULL WHERE project = ? AND created_ms IS NOT NULL

-- put_tenant --
-- Create or replace a tenant.
UPDATE tenant SET created_ms = ?, body = ? WHERE number = ?

-- has_tenant --
-- Say whether a tenant is there.
SELECT 1 FROM tenant WHERE number = ? AND created_ms IS NOT NULL

-- tenant --
-- Return a tenant.
SELECT t.body FROM project AS p JOIN tenant AS t ON t.project = p.number
WHERE p.name = ? AND t.name = ? AND t.created_ms IS NOT NULL

-- tenants, both ways --
-- Return a project's tenants beyond a cursor.
SELECT body FROM tenant
WHERE project = :project AND created_ms IS NOT NULL AND (created_ms, name) {beyond} (:ms, :name)
ORDER BY created_ms {order}, name {order} LIMIT :limit

-- tenants_all, both ways --
-- Return a project's first tenants.
SELECT body FROM tenant WHERE project = :project AND created_ms IS NOT NULL
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

-- keys, both ways --
-- Return a project's API keys beyond a cursor.
SELECT body FROM api_key WHERE project = :project AND number {beyond} :number ORDER BY number {order} LIMIT :limit

-- delete_key --
-- Delete an API key.
DELETE FROM api_key WHERE number = ? RETURNING number

-- delete_keys --
-- Delete a project's API keys.
DELETE FROM api_key WHERE project = ?

-- put_subscription --
-- Create or replace a subscription.
INSERT INTO subscription (number, project, tenant, status, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET project = excluded.project, tenant = excluded.tenant, status = excluded.status,
    body = excluded.body

-- put_owner --
-- Remember whose a subscription is.
INSERT INTO owner (subscription, project, tenant, "partition") VALUES (?, ?, ?, ?)
ON CONFLICT (subscription) DO UPDATE SET project = excluded.project, tenant = excluded.tenant

-- owner --
-- Return whose a subscription is or was.
SELECT project, tenant FROM owner WHERE subscription = ?

-- owned_by --
-- Return which subscriptions are or were a tenant's, not more than a limit.
SELECT subscription FROM owner WHERE tenant = ? LIMIT ?

-- subscription --
-- Return a subscription.
SELECT body FROM subscription WHERE number = ?

-- subscriptions, both ways --
-- Return a project's subscriptions beyond a cursor.
SELECT body FROM subscription WHERE project = :project AND number {beyond} :number ORDER BY number {order} LIMIT :limit

-- subscriptions_in, both ways --
-- Return a project's subscriptions of a status beyond a cursor.
SELECT body FROM subscription WHERE project = :project AND status = :status AND number {beyond} :number
ORDER BY number {order} LIMIT :limit

-- subscriptions_with, both ways --
-- Return a tenant's subscriptions beyond a cursor, of a status when one is given.
SELECT body FROM subscription
WHERE tenant = :tenant AND (:status IS NULL OR status = :status) AND number {beyond} :number
ORDER BY number {order} LIMIT :limit

-- subscriptions_of --
-- Return all subscriptions of a tenant.
SELECT body FROM subscription WHERE tenant = ? ORDER BY number

-- subscriptions_of_project --
-- Return all subscriptions of a project.
SELECT body FROM subscription WHERE project = ? ORDER BY number

-- put_version --
-- Keep what is in force for a subscription from an offset on.
INSERT INTO subscription_version (subscription, from_offset, body) VALUES (?, ?, ?)

-- versions_of --
-- Return all versions of a tenant's living subscriptions.
SELECT v.body FROM subscription AS s CROSS JOIN subscription_version AS v ON v.subscription = s.number
WHERE s.tenant = ? ORDER BY v.subscription, v.from_offset

-- delete_subscription --
-- Delete a subscription.
DELETE FROM subscription WHERE number = ?

-- delete_versions --
-- Delete what was in force for a subscription.
DELETE FROM subscription_version WHERE subscription = ?

-- delete_lane --
-- Delete a behind lane's row.
DELETE FROM lane WHERE "partition" = ? AND subscription = ?

-- delete_opens_of --
-- Delete a subscription's open deliveries.
DELETE FROM open WHERE subscription = ?

-- close --
-- Delete an open delivery.
DELETE FROM open WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?

-- put_open --
-- Write or replace an open delivery.
INSERT INTO open ("partition", last_offset, subscription, last_ms, project, origin, first_offset, record)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT ("partition", last_offset, subscription, last_ms) DO UPDATE SET project = excluded.project,
    origin = excluded.origin, first_offset = excluded.first_offset, record = excluded.record

-- add_members --
-- Remember which delivery settles events that are not its last.
INSERT OR IGNORE INTO member ("partition", "offset", last_offset, subscription, last_ms) VALUES (?, ?, ?, ?, ?)

-- add_settled --
-- Write how deliveries ended, in commit order.
INSERT INTO delivery_lately ("partition", last_offset, subscription, last_ms, project, state, origin, first_offset, record)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- delete_settled_lately --
-- Delete how a delivery ended, when it was lately.
DELETE FROM delivery_lately WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?
RETURNING project, state, record

-- delete_settled --
-- Delete how a delivery ended, when it was longer ago.
DELETE FROM delivery WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?
RETURNING project, state, record

-- lately_keys --
-- Return which deliveries were settled lately.
SELECT "partition", last_offset, subscription, last_ms FROM delivery_lately

-- moved_to --
-- Return the highest last offset under which a delivery of a partition was moved.
SELECT max(last_offset) FROM delivery WHERE "partition" = ?

-- move_lately --
-- Put under their keys the deliveries that were settled lately.
INSERT INTO delivery
SELECT "partition", last_offset, subscription, last_ms, project, state, origin, first_offset, record
FROM delivery_lately ORDER BY "partition", last_offset, subscription, last_ms

-- empty_lately --
-- Forget what was moved.
DELETE FROM delivery_lately

-- count_settled --
-- Count deliveries that were settled, or dropped.
INSERT INTO delivery_count (project, state, total) VALUES (?, ?, ?)
ON CONFLICT (project, state) DO UPDATE SET total = total + excluded.total

-- counts --
-- Return how many deliveries of a project are in each settled state.
SELECT state, total FROM delivery_count WHERE project = ? AND total > 0

-- count_open --
-- Return how many deliveries of a project are open.
SELECT count(*) FROM open WHERE project = ?

-- add_attempts --
-- Write failed attempts.
INSERT OR REPLACE INTO attempt ("partition", last_offset, subscription, last_ms, number, at_ms, body)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- put_lane --
-- Write or replace a behind lane's row.
INSERT INTO lane ("partition", subscription, "cursor", body) VALUES (?, ?, ?, ?)
ON CONFLICT ("partition", subscription) DO UPDATE SET "cursor" = excluded."cursor", body = excluded.body

-- put_watermark --
-- Move a partition's watermark.
INSERT INTO progress ("partition", watermark) VALUES (?, ?)
ON CONFLICT ("partition") DO UPDATE SET watermark = excluded.watermark

-- watermarks --
-- Return the watermarks above 0.
SELECT "partition", watermark FROM progress WHERE watermark > 0 ORDER BY "partition"

-- lanes --
-- Return the rows of all behind lanes.
SELECT body FROM lane ORDER BY "partition", subscription

-- lane --
-- Return a behind lane's row.
SELECT body FROM lane WHERE "partition" = ? AND subscription = ?

-- opens --
-- Return all open deliveries.
SELECT "partition", last_offset, subscription, last_ms, record FROM open
ORDER BY "partition", last_offset, subscription, last_ms

-- open --
-- Return an open delivery.
SELECT "partition", last_offset, subscription, last_ms, record FROM open
WHERE "partition" = ? AND last_offset = ? AND subscription = ? AND last_ms = ?

-- settled --
-- Return how a delivery ended.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE "partition" = :partition AND last_offset = :offset AND subscription = :subscription AND last_ms = :ms
UNION ALL SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery_lately
WHERE "partition" = :partition AND last_offset = :offset AND subscription = :subscription AND last_ms = :ms

-- settled_after --
-- Return how deliveries ended whose last event stands above an offset.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE "partition" = :partition AND last_offset > :offset
UNION ALL SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery_lately
WHERE "partition" = :partition AND last_offset > :offset

-- settled_of_event --
-- Return how deliveries of an event ended: as their last, among their members, or in a range of its tenant's.
WITH key AS (
    SELECT "partition", last_offset, subscription, last_ms FROM member
    WHERE "partition" = :partition AND "offset" = :offset
)
SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.record FROM delivery AS d
WHERE d."partition" = :partition AND d.last_offset = :offset
UNION ALL SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.record
FROM key CROSS JOIN delivery AS d USING ("partition", last_offset, subscription, last_ms)
UNION ALL SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.record
FROM delivery AS d JOIN owner AS o USING (subscription)
WHERE d."partition" = :partition AND d.last_offset > :offset AND d.first_offset <= :offset
    AND d.first_offset IS NOT NULL AND o.tenant = :tenant
UNION ALL SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.state, d.record FROM delivery_lately AS d
LEFT JOIN owner AS o USING (subscription)
WHERE d."partition" = :partition AND (
    d.last_offset = :offset OR ("partition", last_offset, subscription, last_ms) IN key
    OR (d.first_offset <= :offset AND d.last_offset > :offset AND o.tenant = :tenant)
)

-- opens_of_event --
-- Return the open deliveries of an event: as their last, or among their members.
SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.record FROM open AS d
WHERE d."partition" = :partition AND d.last_offset = :offset
UNION ALL SELECT d."partition", d.last_offset, d.subscription, d.last_ms, d.record
FROM member AS m CROSS JOIN open AS d USING ("partition", last_offset, subscription, last_ms)
WHERE m."partition" = :partition AND m."offset" = :offset

-- settled_of_project, both ways --
-- Return how a project's deliveries ended, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE project = :project AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until
    AND (:state IS NULL OR state = :state)
    AND (:tenant IS NULL OR subscription IN (SELECT subscription FROM owner WHERE tenant = :tenant))
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- settled_of_subscription, both ways --
-- Return how a subscription's deliveries ended, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE subscription = :subscription
    AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until AND (:state IS NULL OR state = :state)
ORDER BY last_ms {order}, "partition" {order}, last_offset {order} LIMIT :limit

-- failed_of_project, both ways --
-- Return the deliveries of a project that ended in one of the rarer states, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE project = :project AND state = :state AND state > 0
    AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until
    AND (:tenant IS NULL OR subscription IN (SELECT subscription FROM owner WHERE tenant = :tenant))
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- failed_of_subscription, both ways --
-- Return the deliveries of a subscription that ended in one of the rarer states, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery
WHERE subscription = :subscription AND state = :state AND state > 0
    AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until
ORDER BY last_ms {order}, "partition" {order}, last_offset {order} LIMIT :limit

-- settled_lately, both ways --
-- Return how deliveries ended lately, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, state, record FROM delivery_lately
WHERE project = :project AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until AND (:state IS NULL OR state = :state)
    AND (:subscription IS NULL OR subscription = :subscription)
    AND (:tenant IS NULL OR subscription IN (SELECT subscription FROM owner WHERE tenant = :tenant))
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- opens_of_project, both ways --
-- Return a project's open deliveries, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, record FROM open
WHERE project = :project AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until
    AND (:tenant IS NULL OR subscription IN (SELECT subscription FROM owner WHERE tenant = :tenant))
ORDER BY last_ms {order}, "partition" {order}, last_offset {order}, subscription {order} LIMIT :limit

-- opens_of_subscription, both ways --
-- Return a subscription's open deliveries, beyond a cursor.
SELECT "partition", last_offset, subscription, last_ms, record FROM open
WHERE subscription = :subscription
    AND (last_ms, "partition", last_offset, subscription) {beyond} (:ms, :partition, :offset, :number)
    AND last_ms >= :since AND last_ms < :until
ORDER BY last_ms {order}, "partition" {order}, last_offset {order} LIMIT :limit

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

-- jobs, both ways --
-- Return a project's jobs beyond a cursor.
SELECT body FROM job WHERE project = :project AND number {beyond} :number ORDER BY number {order} LIMIT :limit

-- jobs_of, both ways --
-- Return a tenant's jobs beyond a cursor.
SELECT body FROM job WHERE project = :project AND tenant = :tenant AND number {beyond} :number
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
    SELECT project, key FROM idempotency WHERE expires_ms <= ? ORDER BY project, key LIMIT ?
) RETURNING 1

-- needed_from --
-- Return the lowest offset of a partition that its watermark, a behind lane or an open delivery still needs.
SELECT min(
    coalesce((SELECT watermark FROM progress WHERE "partition" = :partition), 0) + 1,
    coalesce((SELECT min("cursor") + 1 FROM lane WHERE "partition" = :partition), :none),
    coalesce((SELECT min(first_offset) FROM open WHERE "partition" = :partition AND origin <> 1), :none)
)

-- old_entries --
-- Return a partition's next entries below an offset, with when they were accepted.
SELECT place."offset", sequence, tenant, accepted_ms FROM event_place AS place CROSS JOIN event USING (sequence)
WHERE place."partition" = ? AND place."offset" > ? AND place."offset" < ? ORDER BY place."offset" LIMIT ?

-- drop_events --
-- Drop entries.
DELETE FROM event WHERE sequence = ?

-- drop_places --
-- Drop a partition's entries from the index of places, up to an offset.
DELETE FROM event_place WHERE "partition" = ? AND "offset" <= ?

-- drop_tenants --
-- Drop entries from the index of tenants.
DELETE FROM event_tenant WHERE tenant = ? AND sequence = ?

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
-- Return a partition's settled deliveries up to an offset.
SELECT "partition", last_offset, subscription, last_ms FROM delivery
WHERE "partition" = ? AND last_offset <= ? AND origin <> 1
ORDER BY "partition", last_offset, subscription, last_ms LIMIT ?

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
DELETE FROM subscription_version WHERE subscription IN (SELECT subscription FROM owner WHERE "partition" = :partition)
    AND EXISTS (
        SELECT 1 FROM subscription_version AS newer
        WHERE newer.subscription = subscription_version.subscription
            AND newer.from_offset > subscription_version.from_offset AND newer.from_offset <= :floor + 1
    )
