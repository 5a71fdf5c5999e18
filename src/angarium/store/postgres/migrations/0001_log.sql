-- The log, the registry, the lanes and their records.
-- Names are bytes, UTF-8: text here cannot hold every character that a name may, and is ordered by its language. Tenants
-- and projects have numbers, for their names would be most of an index. A row without `created_ms` is known by its number
-- only: its log is there, but nobody has registered it, or it was deleted.

CREATE TABLE meta (name text PRIMARY KEY, value bytea NOT NULL);

CREATE TABLE number (kind text PRIMARY KEY, given bigint NOT NULL);

CREATE TABLE project (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name bytea NOT NULL UNIQUE, created_ms bigint, body bytea
);
CREATE INDEX project_by_moment ON project (created_ms, name) WHERE created_ms IS NOT NULL;

-- A tenant that came into being with its first event has no body: its name and moment are all there is to it.
CREATE TABLE tenant (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project bigint NOT NULL, name bytea NOT NULL,
    created_ms bigint, body bytea, UNIQUE (project, name)
);
CREATE INDEX tenant_by_moment ON tenant (project, created_ms, name) WHERE created_ms IS NOT NULL;

-- Whoever appends holds the partition's row to the commit: that is what makes offsets gap-free and visible in order.
-- Its rows change all the time and have no index on what changes, so that old versions give way within their page.
-- `day` is the latest that any of its entries was accepted on, in days since 1970 (UTC); it never goes back.
CREATE TABLE "partition" (
    "partition" smallint PRIMARY KEY, head bigint NOT NULL, registry bigint NOT NULL, day integer NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 5000);
INSERT INTO "partition" SELECT each, 0, 0 FROM generate_series(0, 255) AS each;

CREATE TABLE progress ("partition" smallint PRIMARY KEY, watermark bigint NOT NULL)
WITH (fillfactor = 10, autovacuum_vacuum_threshold = 5000);

-- The highest offset that retention has dropped.
CREATE TABLE retained ("partition" smallint PRIMARY KEY, floor bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO retained SELECT each, 0 FROM generate_series(0, 255) AS each;

-- Which days have tables of their own, or had until retention dropped them: `event_20000`, `delivery_20000` and
-- `member_20000` are those of day 20,000. What belongs to no such day lies in the default ones.
CREATE TABLE day (day integer PRIMARY KEY, dropped_at timestamptz);

-- `sequence` orders entries of several partitions for lists; within a partition it grows with the offset, and so does
-- `day`: it is that of the partition when the entry was appended.
CREATE SEQUENCE event_sequence;
CREATE TABLE event (
    "partition" smallint NOT NULL, kind smallint NOT NULL, "offset" bigint NOT NULL, tenant bigint NOT NULL,
    project bigint NOT NULL, accepted_ms bigint NOT NULL, sequence bigint NOT NULL DEFAULT nextval('event_sequence'),
    object bytea NOT NULL, action bytea NOT NULL, object_id bytea NOT NULL, extra bytea, data bytea NOT NULL,
    day integer NOT NULL DEFAULT 0, PRIMARY KEY ("partition", "offset", day)
) PARTITION BY RANGE (day);
CREATE TABLE event_default PARTITION OF event DEFAULT;
CREATE INDEX event_of_tenant ON event (tenant, "offset");
CREATE INDEX event_of_project ON event (project, sequence) WHERE kind = 0;

-- Between which numbers the events lie that were accepted within ten minutes, for lists that ask by time. Each connection
-- has rows of its own, so that commits never wait for each other here.
CREATE TABLE event_zone (
    zone bigint NOT NULL, writer integer NOT NULL, first_sequence bigint NOT NULL, last_sequence bigint NOT NULL,
    PRIMARY KEY (zone, writer)
) WITH (fillfactor = 50);

-- A row without `places` is being accepted by the transaction that made it.
CREATE TABLE idempotency (
    project bytea NOT NULL, key bytea NOT NULL, digest bytea NOT NULL, matched integer NOT NULL,
    expires_ms bigint NOT NULL, places bytea, PRIMARY KEY (project, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_ms);

CREATE TABLE api_key (number bigint PRIMARY KEY, digest bytea NOT NULL UNIQUE, project bytea NOT NULL, body bytea NOT NULL);
CREATE INDEX api_key_by_project ON api_key (project, number);

CREATE TABLE subscription (
    number bigint PRIMARY KEY, project bigint NOT NULL, tenant bigint NOT NULL, status text NOT NULL, body bytea NOT NULL
);
CREATE INDEX subscription_by_project ON subscription (project, number);
CREATE INDEX subscription_by_project_status ON subscription (project, status, number);
CREATE INDEX subscription_by_tenant ON subscription (tenant, number);
CREATE INDEX subscription_by_tenant_status ON subscription (tenant, status, number);

-- Whose a subscription is or was: deliveries outlive it.
CREATE TABLE owner (
    subscription bigint PRIMARY KEY, project bigint NOT NULL, tenant bigint NOT NULL, "partition" smallint NOT NULL
);

CREATE TABLE subscription_version (
    subscription bigint NOT NULL, from_offset bigint NOT NULL, "partition" smallint NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (subscription, from_offset)
);
CREATE INDEX subscription_version_by_partition ON subscription_version ("partition");

CREATE TABLE lane (
    "partition" smallint NOT NULL, subscription bigint NOT NULL, "cursor" bigint NOT NULL, body bytea NOT NULL,
    PRIMARY KEY ("partition", subscription)
);
CREATE INDEX lane_by_cursor ON lane ("partition", "cursor");

-- A project or tenant of 0 is that of a subscription which never was.
CREATE TABLE open (
    "partition" smallint NOT NULL, last_offset bigint NOT NULL, subscription bigint NOT NULL, last_ms bigint NOT NULL,
    project bigint NOT NULL, tenant bigint NOT NULL, origin smallint NOT NULL, first_offset bigint NOT NULL,
    record bytea NOT NULL, PRIMARY KEY ("partition", last_offset, subscription, last_ms)
);
CREATE INDEX open_by_project ON open (project, last_ms, "partition", last_offset, subscription);
CREATE INDEX open_by_tenant ON open (tenant, last_ms, "partition", last_offset, subscription);
CREATE INDEX open_by_subscription ON open (subscription, last_ms, "partition", last_offset);
CREATE INDEX open_by_need ON open ("partition", first_offset) WHERE origin <> 1;
CREATE INDEX open_asked_for ON open ("partition") WHERE origin <> 0;

-- State 0 is delivered: most rows, so that they are left out of the indexes over failures. `first_offset` is a range's,
-- `weight` for how many deliveries a row counts. Its day is that of `last_ms`.
CREATE TABLE delivery (
    "partition" smallint NOT NULL, last_offset bigint NOT NULL, subscription bigint NOT NULL, last_ms bigint NOT NULL,
    project bigint NOT NULL, tenant bigint NOT NULL, state smallint NOT NULL, origin smallint NOT NULL,
    weight integer NOT NULL, first_offset bigint, record bytea NOT NULL,
    PRIMARY KEY ("partition", last_offset, subscription, last_ms)
) PARTITION BY RANGE (last_ms);
CREATE TABLE delivery_default PARTITION OF delivery DEFAULT;
CREATE INDEX delivery_by_project ON delivery (project, last_ms, "partition", last_offset, subscription);
CREATE INDEX delivery_by_tenant ON delivery (tenant, last_ms, "partition", last_offset, subscription);
CREATE INDEX delivery_by_subscription ON delivery (subscription, last_ms, "partition", last_offset);
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
    "partition" smallint NOT NULL, "offset" bigint NOT NULL, last_offset bigint NOT NULL, subscription bigint NOT NULL,
    last_ms bigint NOT NULL, PRIMARY KEY ("partition", "offset", last_offset, subscription, last_ms)
) PARTITION BY RANGE (last_ms);
CREATE TABLE member_default PARTITION OF member DEFAULT;

-- Counted by partition, whose owner alone settles there: owners never wait for each other. And by the day of `last_ms`,
-- so that a day's counts go with it.
CREATE TABLE delivery_count (
    "partition" smallint NOT NULL, project bigint NOT NULL, state smallint NOT NULL, total bigint NOT NULL,
    day integer NOT NULL DEFAULT 0, PRIMARY KEY (project, state, "partition", day)
) WITH (fillfactor = 50);
CREATE INDEX delivery_count_by_day ON delivery_count (day);

-- Which offset of each partition is the lowest that its watermark, a behind lane or an open delivery needs.
CREATE VIEW needed AS
SELECT r."partition", r.floor, least(
    coalesce((SELECT watermark FROM progress AS w WHERE w."partition" = r."partition"), 0) + 1,
    (SELECT min("cursor") + 1 FROM lane AS l WHERE l."partition" = r."partition"),
    (SELECT min(first_offset) FROM open AS o WHERE o."partition" = r."partition" AND o.origin <> 1)
) AS needed
FROM retained AS r;

-- Keep a day that is to come out of the default tables. They are looked through for it afterwards, while others go on.
CREATE FUNCTION shield_day(integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted ALIAS FOR $1;
BEGIN
    PERFORM set_config('lock_timeout', '300ms', true);
    ALTER TABLE event_default DROP CONSTRAINT IF EXISTS shield;
    ALTER TABLE delivery_default DROP CONSTRAINT IF EXISTS shield;
    ALTER TABLE member_default DROP CONSTRAINT IF EXISTS shield;
    EXECUTE format(
        'ALTER TABLE event_default ADD CONSTRAINT shield CHECK (day < %s OR day >= %s) NOT VALID', wanted, wanted + 1
    );
    EXECUTE format(
        'ALTER TABLE delivery_default ADD CONSTRAINT shield CHECK (last_ms < %s OR last_ms >= %s) NOT VALID',
        wanted * 86400000::bigint, (wanted + 1) * 86400000::bigint
    );
    EXECUTE format(
        'ALTER TABLE member_default ADD CONSTRAINT shield CHECK (last_ms < %s OR last_ms >= %s) NOT VALID',
        wanted * 86400000::bigint, (wanted + 1) * 86400000::bigint
    );
END
$$;
CREATE FUNCTION validate_shields() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE event_default VALIDATE CONSTRAINT shield;
    ALTER TABLE delivery_default VALIDATE CONSTRAINT shield;
    ALTER TABLE member_default VALIDATE CONSTRAINT shield;
END
$$;
CREATE FUNCTION drop_shields() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE event_default DROP CONSTRAINT IF EXISTS shield;
    ALTER TABLE delivery_default DROP CONSTRAINT IF EXISTS shield;
    ALTER TABLE member_default DROP CONSTRAINT IF EXISTS shield;
END
$$;

-- Make a day's tables, unless it has or had them; say whether they are new. NULL where the default tables are too large to
-- be looked through while all wait, and nothing shields them from that day. It fails where they hold rows of that day, and
-- when others keep it waiting for long: whoever comes next would have to wait for it.
CREATE FUNCTION make_day(integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    wanted ALIAS FOR $1;
BEGIN
    IF EXISTS (SELECT 1 FROM day WHERE day = wanted) THEN
        RETURN false;
    END IF;
    IF pg_relation_size('event_default') + pg_relation_size('delivery_default') + pg_relation_size('member_default')
        > 16000000 AND NOT EXISTS (
        SELECT 1 FROM pg_constraint
        WHERE conrelid = 'member_default'::regclass AND conname = 'shield' AND convalidated
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO day (day) VALUES (wanted) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format(
        'CREATE TABLE event_%s PARTITION OF event FOR VALUES FROM (%s) TO (%s)', wanted, wanted, wanted + 1
    );
    EXECUTE format(
        'CREATE TABLE delivery_%s PARTITION OF delivery FOR VALUES FROM (%s) TO (%s)',
        wanted, wanted * 86400000::bigint, (wanted + 1) * 86400000::bigint
    );
    EXECUTE format(
        'CREATE TABLE member_%s PARTITION OF member FOR VALUES FROM (%s) TO (%s)',
        wanted, wanted * 86400000::bigint, (wanted + 1) * 86400000::bigint
    );
    RETURN true;
END
$$;

-- Drop a day's tables. What lies above what retention has dropped of its partition goes to the default tables instead,
-- and is counted still; tests are as old as the day. It fails when others keep it waiting for long.
CREATE FUNCTION drop_day(integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted ALIAS FOR $1;
BEGIN
    PERFORM set_config('lock_timeout', '300ms', true);
    LOCK TABLE event, delivery, member IN ACCESS EXCLUSIVE MODE;
    UPDATE day SET dropped_at = clock_timestamp() WHERE day = wanted AND dropped_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE event DETACH PARTITION event_%s', wanted);
    EXECUTE format('ALTER TABLE delivery DETACH PARTITION delivery_%s', wanted);
    EXECUTE format('ALTER TABLE member DETACH PARTITION member_%s', wanted);
    EXECUTE format(
        'INSERT INTO event SELECT e.* FROM retained AS r JOIN event_%s AS e'
        ' ON e."partition" = r."partition" AND e."offset" > r.floor', wanted
    );
    EXECUTE format(
        'INSERT INTO member SELECT m.* FROM retained AS r JOIN member_%s AS m'
        ' ON m."partition" = r."partition" AND m."offset" > r.floor', wanted
    );
    DELETE FROM delivery_count WHERE day = wanted;
    EXECUTE format(
        'WITH kept AS ('
        ' INSERT INTO delivery SELECT d.* FROM retained AS r JOIN delivery_%s AS d'
        ' ON d."partition" = r."partition" AND d.last_offset > r.floor WHERE d.origin <> 1'
        ' RETURNING "partition", project, state, weight'
        ') INSERT INTO delivery_count ("partition", project, state, day, total)'
        ' SELECT "partition", project, state, %s, sum(weight) FROM kept GROUP BY 1, 2, 3', wanted, wanted
    );
    EXECUTE format('DROP TABLE event_%s, delivery_%s, member_%s', wanted, wanted, wanted);
END
$$;

CREATE TABLE attempt (
    "partition" smallint NOT NULL, last_offset bigint NOT NULL, subscription bigint NOT NULL, last_ms bigint NOT NULL,
    number integer NOT NULL, at_ms bigint NOT NULL, body bytea NOT NULL,
    PRIMARY KEY ("partition", last_offset, subscription, last_ms, number)
);
CREATE INDEX attempt_by_moment ON attempt (at_ms);

CREATE TABLE job (
    number bigint PRIMARY KEY, project bytea NOT NULL, tenant bytea NOT NULL, state text NOT NULL, body bytea NOT NULL
);
CREATE INDEX job_by_project ON job (project, number);
CREATE INDEX job_by_tenant ON job (project, tenant, number);
CREATE INDEX job_by_state ON job (state, number);
