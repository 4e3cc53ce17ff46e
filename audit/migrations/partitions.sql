-- A history that is partitioned by month: `manage.py partition_history` calls history_partition() once, the keeper calls
-- history_ahead(), history_analyze() and history_drop(). Without that command they find no partitions and do nothing.
--
-- Locks: who waits for a lock makes everybody behind it wait. The lock_timeout of 300 ms bounds that, and is shorter than
-- deadlock_timeout, so that no other transaction is ended by a deadlock with these.
--
-- Ids are UUIDv7, which are ordered by their time, so the primary key is the key of the partitions, too: rows, seals,
-- addresses and queries name an execution by its id as before. docs/scaling.md has the reasons and the costs.

-- The table's name, and not TG_TABLE_NAME: a row of a partitioned history is in the table of its month.
CREATE OR REPLACE FUNCTION audit_pend_execution() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO audit_pending (source, row_id) VALUES ('executions_execution', NEW.id::text);
    RETURN NULL;
END $$;

-- As before, but looks into the ids of a record only if they may hold this one: a month has many records.
CREATE OR REPLACE FUNCTION audit_purging(purged text, execution uuid) RETURNS boolean LANGUAGE sql STABLE
SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM audit_purgerecord record
        JOIN executions_execution e ON e.id = execution
        JOIN audit_retentionpolicy policy ON policy.client_id = e.client_id OR policy.client_id IS NULL
            AND NOT EXISTS (SELECT FROM audit_retentionpolicy own WHERE own.client_id = e.client_id)
        WHERE record.transaction = pg_current_xact_id()::text::bigint
            AND record.kind = purged AND execution BETWEEN record.first_id AND record.last_id
            AND execution = ANY(record.ids)
            AND EXISTS (
                SELECT FROM audit_leaf
                WHERE source = 'executions_execution' AND row_id = execution::text)
            AND e.finished_at <= clock_timestamp() - make_interval(days => CASE purged
                WHEN 'code' THEN policy.keep_code_days
                WHEN 'output' THEN policy.keep_output_days
                WHEN 'artifacts' THEN policy.keep_artifacts_days
                WHEN 'metadata' THEN policy.keep_metadata_days END)
    )
$$;

-- The lowest id of a time.
CREATE OR REPLACE FUNCTION history_first_id(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE OR REPLACE FUNCTION history_time_of(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;

-- The partitions, oldest first, each from `low` to before `high`. The oldest has no low one; what lies beyond all others
-- is in the last, which has neither.
CREATE OR REPLACE FUNCTION history_parts() RETURNS TABLE (part text, low uuid, high uuid) LANGUAGE sql STABLE
SET search_path = public, pg_temp AS $$
    SELECT c.relname::text, substring(bound FROM 'FROM \(''([0-9a-f-]{36})''\)')::uuid,
        substring(bound FROM 'TO \(''([0-9a-f-]{36})''\)')::uuid
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, LATERAL pg_get_expr(c.relpartbound, c.oid) bound
    WHERE i.inhparent = to_regclass('public.executions_execution')
    ORDER BY 3 NULLS LAST
$$;

-- A unique index of a partitioned table must hold the id, so keys that are used once have a table of their own.
CREATE OR REPLACE FUNCTION history_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM executions_idempotency WHERE execution_id = OLD.id;
    ELSE
        INSERT INTO executions_idempotency (execution_id, client_id, idempotency_key)
            VALUES (NEW.id, NEW.client_id, NEW.idempotency_key);
    END IF;
    RETURN NULL;
END $$;

-- A foreign key would make each drop of a month read all tables that have one, while nothing else can read the history.
-- Only a purge deletes an execution, and it deletes what belongs to it.
CREATE OR REPLACE FUNCTION history_execution_exists() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM executions_execution WHERE id = NEW.execution_id) THEN
        RAISE foreign_key_violation
            USING MESSAGE = format('%s: there is no execution %s', TG_TABLE_NAME, NEW.execution_id);
    END IF;
    RETURN NEW;
END $$;

-- What the parent's triggers and statistics do not give a partition.
CREATE OR REPLACE FUNCTION history_complete(part text) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    word text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(part) AND tgname = 'audit_no_truncate') THEN
        EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', part);
    END IF;
    -- ANALYZE would compute the words of thousands of rows for nothing (executions/migrations/0001_initial.py).
    FOR word IN SELECT indexrelid::regclass::text FROM pg_index
        WHERE indrelid = to_regclass(part) AND pg_get_indexdef(indexrelid) LIKE '%execution\_words(%' LOOP
        EXECUTE format('ALTER INDEX %s ALTER COLUMN 1 SET STATISTICS 0', word);
    END LOOP;
END $$;

-- The first step, while everything runs: the keys' table, and triggers that fill it beside the index of before.
CREATE OR REPLACE FUNCTION history_keep_keys() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    CREATE TABLE executions_idempotency (
        execution_id uuid PRIMARY KEY, client_id bigint, idempotency_key varchar(255) NOT NULL);
    CREATE UNIQUE INDEX execution_key_once ON executions_idempotency (client_id, idempotency_key) NULLS NOT DISTINCT;
    CREATE TRIGGER history_key AFTER INSERT ON executions_execution
        FOR EACH ROW WHEN (NEW.idempotency_key IS NOT NULL) EXECUTE FUNCTION history_key();
    CREATE TRIGGER history_key_gone AFTER DELETE ON executions_execution
        FOR EACH ROW WHEN (OLD.idempotency_key IS NOT NULL) EXECUTE FUNCTION history_key();
END $$;

-- The last step: the table becomes the first partition of a new one that has its name, columns, indexes, triggers and
-- rights. No row is read or moved, if a valid constraint says that all ids lie before the boundary.
CREATE OR REPLACE FUNCTION history_partition(boundary uuid) RETURNS void LANGUAGE plpgsql
SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    plain constant oid := 'executions_execution'::regclass;
    tables text;
    again text[];
    triggers text[];
    rights text[];
    item record;
    word text;
BEGIN
    SELECT string_agg(part::text, ', ') INTO tables FROM (
        SELECT DISTINCT conrelid::regclass FROM pg_constraint WHERE confrelid = plain AND contype = 'f'
    ) beside (part);
    -- An autovacuum gives way to whoever waits for a second. Nobody else waits for this.
    EXECUTE format('LOCK TABLE executions_execution, %s IN SHARE UPDATE EXCLUSIVE MODE', tables);
    -- Runs lock these tables in any order. All locks together must take less than a deadlock_timeout.
    PERFORM set_config('lock_timeout', '100ms', true);
    EXECUTE format('LOCK TABLE executions_execution, %s IN ACCESS EXCLUSIVE MODE', tables);
    IF EXISTS (
        SELECT FROM pg_index WHERE indrelid = plain AND indisunique AND NOT indisprimary
            AND indexrelid <> 'execution_idempotency_once'::regclass
    ) THEN
        RAISE EXCEPTION 'The history has a unique index that its partitions cannot have';
    END IF;
    -- What is made again on the new table, in its words of before.
    SELECT array_agg(definition ORDER BY place, definition) INTO again FROM (
        SELECT 1, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = plain AND NOT indisunique
        UNION ALL
        SELECT 2, format('ALTER TABLE executions_execution ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = plain AND contype = 'f'
    ) made (place, definition);
    SELECT array_agg(pg_get_triggerdef(oid) ORDER BY tgname)
        || coalesce(array_agg(format('COMMENT ON TRIGGER %I ON executions_execution IS %L', tgname, said))
            FILTER (WHERE said IS NOT NULL), '{}')
        INTO triggers FROM pg_trigger, LATERAL obj_description(oid, 'pg_trigger') said
        WHERE tgrelid = plain AND NOT tgisinternal;
    SELECT coalesce(array_agg(format('GRANT %s ON executions_execution TO %I', what, rolname)), '{}')
        -- Partitions need no rights: nobody but the owner names them.
        || coalesce(array_agg(format('REVOKE %s ON executions_execution_before FROM %I', what, rolname)), '{}')
        INTO rights FROM (
            SELECT a.privilege_type, r.rolname FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
            WHERE c.oid = plain AND a.grantee <> c.relowner
            UNION ALL
            SELECT format('%s (%I)', a.privilege_type, t.attname), r.rolname
            FROM pg_attribute t, aclexplode(t.attacl) a JOIN pg_roles r ON r.oid = a.grantee WHERE t.attrelid = plain
        ) granted (what, rolname);
    FOR item IN SELECT conrelid::regclass AS part, conname FROM pg_constraint
        WHERE confrelid = plain AND contype = 'f' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.part, item.conname);
        EXECUTE format('CREATE TRIGGER history_execution_exists BEFORE INSERT ON %s'
            ' FOR EACH ROW EXECUTE FUNCTION history_execution_exists()', item.part);
    END LOOP;
    FOR item IN SELECT tgname FROM pg_trigger WHERE tgrelid = plain AND NOT tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON executions_execution', item.tgname);
    END LOOP;
    DROP INDEX execution_idempotency_once;
    ALTER INDEX execution_key_once RENAME TO execution_idempotency_once;
    ALTER TABLE executions_execution RENAME TO executions_execution_before;
    FOR item IN SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = plain LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', item.relname, left(item.relname, 56) || '_before');
    END LOOP;
    CREATE TABLE executions_execution (LIKE executions_execution_before INCLUDING DEFAULTS INCLUDING GENERATED
        INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING CONSTRAINTS) PARTITION BY RANGE (id);
    -- It says where the first partition ends, and nothing of the others.
    ALTER TABLE executions_execution DROP CONSTRAINT IF EXISTS execution_before_boundary;
    ALTER TABLE executions_execution ADD CONSTRAINT executions_execution_pkey PRIMARY KEY (id);
    FOREACH word IN ARRAY again LOOP
        EXECUTE word;
    END LOOP;
    EXECUTE format('ALTER TABLE executions_execution ATTACH PARTITION executions_execution_before'
        ' FOR VALUES FROM (MINVALUE) TO (%L)', boundary);
    CREATE TABLE executions_execution_other PARTITION OF executions_execution DEFAULT;
    FOREACH word IN ARRAY triggers || rights LOOP
        EXECUTE word;
    END LOOP;
    PERFORM history_complete('executions_execution');
    PERFORM history_complete(part) FROM history_parts();
END $$;

-- Makes the next partition, if one of this month and the three that follow is missing, and returns whether it was.
CREATE OR REPLACE FUNCTION history_ahead() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '300ms' SET TimeZone = 'UTC' AS $$
DECLARE
    low uuid;
    high uuid;
    begins timestamptz;
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7385017) THEN
        RETURN false;
    END IF;
    SELECT p.high INTO low FROM history_parts() p WHERE p.high IS NOT NULL ORDER BY 1 DESC LIMIT 1;
    IF low IS NULL THEN
        -- Of a conversion that was killed: from its boundary on, no execution could be stored.
        IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'execution_before_boundary') THEN
            ALTER TABLE executions_execution DROP CONSTRAINT execution_before_boundary;
        END IF;
        RETURN false;
    END IF;
    begins := history_time_of(low);
    IF begins > date_trunc('month', now()) + interval '3 months' THEN
        RETURN false;
    END IF;
    high := history_first_id(begins + interval '1 month');
    name := to_char(begins, '"executions_execution_y"YYYY"m"MM');
    EXECUTE format('CREATE TABLE %I (LIKE executions_execution INCLUDING ALL)', name);
    -- Executions that came before their month, from a node whose clock was ahead. The owner moves them as they are: for
    -- the triggers that guard and count, nothing happens.
    LOCK TABLE executions_execution_other IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM executions_execution_other WHERE id >= low AND id < high) THEN
        ALTER TABLE executions_execution_other DISABLE TRIGGER USER;
        EXECUTE format('INSERT INTO %I (%s) SELECT %2$s FROM executions_execution_other WHERE id >= %L AND id < %L', name,
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = 'executions_execution'::regclass AND attnum > 0 AND NOT attisdropped
            AND attgenerated = ''), low, high);
        DELETE FROM executions_execution_other WHERE id >= low AND id < high;
        ALTER TABLE executions_execution_other ENABLE TRIGGER USER;
    END IF;
    -- Attached, and not made as a partition, which would wait for all who read.
    EXECUTE format('ALTER TABLE executions_execution ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, low, high);
    PERFORM history_complete(name);
    RETURN true;
END $$;

-- After new months, and in a transaction of its own, because it takes a while: Postgres does not analyze the table of all
-- partitions by itself, as nothing is written into it.
CREATE OR REPLACE FUNCTION history_analyze() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    ANALYZE executions_execution;
END $$;

-- Drops a partition, if every execution in it is sealed, counted and due by its client's policy; writes the purge records
-- that say so, and removes what belongs to the executions. Returns their number, or NULL if something keeps them or there
-- is no such month (any more).
CREATE OR REPLACE FUNCTION history_drop(name text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    bounds record;
    counted timestamptz;
    kept boolean;
    number bigint;
    beside regclass;
    -- Rows of the partition, each with its policy.
    judged constant text := format('(SELECT e.id, e.queued_at, e.finished_at,'
        ' CASE WHEN own.id IS NULL THEN other.keep_metadata_days ELSE own.keep_metadata_days END AS days,'
        ' ''policy of '' || CASE WHEN own.id IS NULL THEN ''all other clients'' ELSE client.name END AS policy'
        ' FROM %I e LEFT JOIN executions_client client ON client.id = e.client_id'
        ' LEFT JOIN audit_retentionpolicy own ON own.client_id = e.client_id'
        ' LEFT JOIN audit_retentionpolicy other ON other.client_id IS NULL) e', name);
BEGIN
    SELECT * INTO bounds FROM history_parts() p WHERE p.part = name AND p.high IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT least((SELECT up_to FROM usage_counted), (SELECT up_to FROM console_rollup)) INTO counted
        WHERE EXISTS (SELECT FROM usage_counted) AND EXISTS (SELECT FROM console_rollup);
    -- Nobody writes there from here on; whoever reads goes on.
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', name);
    -- Ten minutes: what audit/purging.py leaves a caller to fetch the result with a policy of 0 days.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE (e.days IS NOT NULL AND e.queued_at < %L AND e.finished_at'
        ' <= clock_timestamp() - greatest(make_interval(days => e.days), interval ''10 minutes'')) IS NOT TRUE)'
        ' OR EXISTS (SELECT FROM %I e WHERE NOT EXISTS (SELECT FROM audit_leaf l'
        ' WHERE l.source = ''executions_execution'' AND l.row_id = e.id::text))', judged, counted, name) INTO kept;
    IF kept THEN
        RETURN NULL;
    END IF;
    EXECUTE format('INSERT INTO audit_purgerecord'
        ' (kind, policy, keep_days, cutoff, count, first_id, last_id, ids, created_at)'
        ' SELECT ''metadata'', policy, days, clock_timestamp() - make_interval(days => days), count(*),'
        ' (array_agg(id ORDER BY id))[1], (array_agg(id ORDER BY id DESC))[1], array_agg(id ORDER BY id),'
        ' clock_timestamp()'
        ' FROM (SELECT id, policy, days, (row_number() OVER (PARTITION BY policy ORDER BY id) - 1) / 10000 AS batch'
        ' FROM %s) e GROUP BY policy, days, batch', judged);
    -- What the triggers of a DELETE would count (executions/migrations/storage.sql).
    EXECUTE format('INSERT INTO executions_storagechange (client_id, bytes)'
        ' SELECT client_id, -sum(1024 + octet_length(code) + octet_length(arguments) + octet_length(stdin)'
        ' + octet_length(argv::text) + octet_length(variables::text) + octet_length(labels::text)'
        ' + octet_length(message) + octet_length(policy_violations::text) + octet_length(stdout)'
        ' + octet_length(stderr) + coalesce(octet_length(result), 0))'
        ' FROM %I WHERE client_id IS NOT NULL GROUP BY client_id', name);
    DELETE FROM executions_deliveryattempt a USING executions_delivery d
        WHERE a.delivery_id = d.id AND d.execution_id >= coalesce(bounds.low, '00000000-0000-0000-0000-000000000000')
        AND d.execution_id < bounds.high;
    FOR beside IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'history_execution_exists'
        UNION ALL SELECT 'executions_idempotency'::regclass LOOP
        EXECUTE format('DELETE FROM %s WHERE execution_id >= %L AND execution_id < %L',
            beside, coalesce(bounds.low, '00000000-0000-0000-0000-000000000000'), bounds.high);
    END LOOP;
    EXECUTE format('SELECT count(*) FROM %I', name) INTO number;
    -- Waits for whoever reads the history, and keeps others waiting until the commit.
    PERFORM set_config('lock_timeout', '300ms', true);
    FOR attempt IN 1 .. 20 LOOP
        BEGIN
            LOCK TABLE ONLY executions_execution IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 20 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.5);
        END;
    END LOOP;
    EXECUTE format('DROP TABLE %I', name);
    RETURN number;
END $$;

REVOKE ALL ON FUNCTION history_ahead(), history_analyze(), history_drop(text) FROM PUBLIC;
