-- The log, the registry, the lanes and their records.
-- Tenants and projects have numbers, for their names would be most of an index. A row without `created_ms` is known by
-- its number only: its log is there, but nobody has registered it, or it was deleted.

CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE number (kind TEXT PRIMARY KEY, given INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE project (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER, body BLOB
) STRICT;
CREATE INDEX project_by_moment ON project (created_ms, name) WHERE created_ms IS NOT NULL;

CREATE TABLE tenant (
    number INTEGER PRIMARY KEY, project INTEGER NOT NULL, name TEXT NOT NULL, created_ms INTEGER, body BLOB,
    UNIQUE (project, name)
) STRICT;
CREATE INDEX tenant_by_moment ON tenant (project, created_ms, name) WHERE created_ms IS NOT NULL;

-- `head` is the last offset that is indexed: what lies above the last zone goes on from there.
CREATE TABLE "partition" (
    "partition" INTEGER PRIMARY KEY, head INTEGER NOT NULL, floor INTEGER NOT NULL, registry INTEGER NOT NULL
) STRICT;
WITH RECURSIVE each ("partition") AS (SELECT 0 UNION ALL SELECT "partition" + 1 FROM each WHERE "partition" < 255)
INSERT INTO "partition" SELECT "partition", 0, 0, 0 FROM each;

CREATE TABLE progress ("partition" INTEGER PRIMARY KEY, watermark INTEGER NOT NULL) STRICT;

-- Entries lie in commit order, so that appending touches the last page only. Their indexes, which would touch a page per
-- entry, are tables that are brought up to date some thousands of entries at a time. A zone is such a step; what lies
-- above the last zone is indexed in memory. A tenant's entries are found among its partition's: an index by tenant would
-- touch a page per entry however many are written at a time. The longest column is last: what precedes it is read
-- without it.
-- `crc` is of all other columns but `sequence`, so that what a disk has changed is not served.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL, tenant INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL, kind INTEGER NOT NULL, object TEXT NOT NULL, action TEXT NOT NULL,
    object_id TEXT NOT NULL, crc INTEGER NOT NULL, extra BLOB, data BLOB NOT NULL
) STRICT;
CREATE TABLE event_place (
    "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL, sequence INTEGER NOT NULL, tenant INTEGER NOT NULL,
    PRIMARY KEY ("partition", "offset")
) STRICT, WITHOUT ROWID;
CREATE TABLE event_project (
    project INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (project, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE event_zone (
    first_sequence INTEGER PRIMARY KEY, last_sequence INTEGER NOT NULL, least_ms INTEGER NOT NULL, most_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    project TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, matched INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    places BLOB NOT NULL, PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_ms);

CREATE TABLE api_key (
    number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, project TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX api_key_by_project ON api_key (project);

CREATE TABLE subscription (
    number INTEGER PRIMARY KEY, project INTEGER NOT NULL, tenant INTEGER NOT NULL, status TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX subscription_by_project ON subscription (project);
CREATE INDEX subscription_by_project_status ON subscription (project, status);
CREATE INDEX subscription_by_tenant ON subscription (tenant);
CREATE INDEX subscription_by_tenant_status ON subscription (tenant, status);

-- Whose a subscription is or was: deliveries outlive it.
CREATE TABLE owner (
    subscription INTEGER PRIMARY KEY, project INTEGER NOT NULL, tenant INTEGER NOT NULL, "partition" INTEGER NOT NULL
) STRICT;

CREATE TABLE subscription_version (
    subscription INTEGER NOT NULL, from_offset INTEGER NOT NULL, "partition" INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (subscription, from_offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_version_by_partition ON subscription_version ("partition");

CREATE TABLE lane (
    "partition" INTEGER NOT NULL, subscription INTEGER NOT NULL, "cursor" INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY ("partition", subscription)
) STRICT, WITHOUT ROWID;
CREATE INDEX lane_by_cursor ON lane ("partition", "cursor");

-- A project or tenant of 0 is that of a subscription which never was.
CREATE TABLE open (
    number INTEGER PRIMARY KEY, "partition" INTEGER NOT NULL, last_offset INTEGER NOT NULL, subscription INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, project INTEGER NOT NULL, tenant INTEGER NOT NULL, origin INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, record BLOB NOT NULL, UNIQUE ("partition", last_offset, subscription, last_ms)
) STRICT;
CREATE INDEX open_by_project ON open (project, last_ms, "partition", last_offset, subscription);
CREATE INDEX open_by_tenant ON open (tenant, last_ms, "partition", last_offset, subscription);
CREATE INDEX open_by_subscription ON open (subscription, last_ms, "partition", last_offset);
CREATE INDEX open_by_need ON open ("partition", first_offset) WHERE origin <> 1;

-- What was settled is written in commit order first, and moved under its key some thousands at a time: a lot. Each lot
-- has an index of its own, by tenant and subscription, so that it is written once and in order. What a lot names counts
-- only while the delivery says that it is of this lot; a lot goes when it holds none any more.
-- State 0 is delivered: most rows, so that they are left out of the indexes over failures. `first_offset` is a range's.
CREATE TABLE delivery_lately (
    number INTEGER PRIMARY KEY, "partition" INTEGER NOT NULL, last_offset INTEGER NOT NULL, subscription INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, project INTEGER NOT NULL, tenant INTEGER NOT NULL, state INTEGER NOT NULL,
    origin INTEGER NOT NULL, first_offset INTEGER, record BLOB NOT NULL
) STRICT;
CREATE TABLE delivery (
    "partition" INTEGER NOT NULL, last_offset INTEGER NOT NULL, subscription INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, project INTEGER NOT NULL, tenant INTEGER NOT NULL, state INTEGER NOT NULL,
    origin INTEGER NOT NULL, first_offset INTEGER, lot INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY ("partition", last_offset, subscription, last_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE delivery_lot (
    lot INTEGER PRIMARY KEY, least_ms INTEGER NOT NULL, most_ms INTEGER NOT NULL, held INTEGER NOT NULL
) STRICT;
CREATE TABLE delivery_in_lot (
    lot INTEGER NOT NULL, tenant INTEGER NOT NULL, subscription INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    "partition" INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    PRIMARY KEY (lot, tenant, subscription, last_ms, "partition", last_offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_project ON delivery (project, last_ms, "partition", last_offset, subscription);
CREATE INDEX failed_by_project ON delivery (project, state, last_ms, "partition", last_offset, subscription)
    WHERE state > 0;
CREATE INDEX failed_by_tenant ON delivery (tenant, state, last_ms, "partition", last_offset, subscription)
    WHERE state > 0;
CREATE INDEX failed_by_subscription ON delivery (subscription, state, last_ms, "partition", last_offset)
    WHERE state > 0;
CREATE INDEX delivery_of_ranges ON delivery (tenant, last_offset, first_offset) WHERE first_offset IS NOT NULL;
CREATE INDEX delivery_of_tests ON delivery (last_ms, "partition", last_offset, subscription) WHERE origin = 1;

-- Which delivery settles an event that is not its last.
CREATE TABLE member (
    "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL, last_offset INTEGER NOT NULL, subscription INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, PRIMARY KEY ("partition", "offset", last_offset, subscription, last_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery_count (
    project INTEGER NOT NULL, state INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (project, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    "partition" INTEGER NOT NULL, last_offset INTEGER NOT NULL, subscription INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    number INTEGER NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY ("partition", last_offset, subscription, last_ms, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_by_moment ON attempt (at_ms);

CREATE TABLE job (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX job_by_project ON job (project);
CREATE INDEX job_by_tenant ON job (project, tenant);
CREATE INDEX job_by_state ON job (state);
