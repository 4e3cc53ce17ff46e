-- Triggers that make history append-only.
--
-- Written as plain SQL: the triggers of django-pgtrigger can be switched off by SET pgtrigger.ignore, which any
-- statement of the application could do. Every function fixes its search path, because a temporary table of the same
-- name would otherwise be found first.

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'Cannot update or delete rows from % table: it is history', TG_TABLE_NAME;
END $$;

CREATE FUNCTION audit_refuse_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'Cannot truncate %: it is history, or what history is about', TG_TABLE_NAME;
END $$;

-- Changes are recorded by triggers of django-pgtrigger, which a setting silences, and which write to whatever
-- table the session's search path finds: so this one, which runs before them, keeps the session's path.
CREATE FUNCTION audit_refuse_unrecorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(TG_ARGV[0]) IS DISTINCT FROM to_regclass('public.' || TG_ARGV[0]) THEN
        RAISE EXCEPTION 'The search path hides %: % changes only if recorded', TG_ARGV[0], TG_TABLE_NAME;
    END IF;
    IF coalesce(current_setting('pgtrigger.ignore', true), '') NOT IN ('', '{}') THEN
        RAISE EXCEPTION 'pgtrigger.ignore is set: % changes only with its triggers', TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

-- Queues a new row of a history table for its seal. Argument: the name of its key.
CREATE FUNCTION audit_pend() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO audit_pending (source, row_id) VALUES (TG_TABLE_NAME, to_jsonb(NEW) ->> TG_ARGV[0]);
    RETURN NULL;
END $$;

-- The same for executions, whose rows are too large to be turned into JSON for it.
CREATE FUNCTION audit_pend_execution() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO audit_pending (source, row_id) VALUES (TG_TABLE_NAME, NEW.id::text);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_guard_pending() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT FROM audit_leaf WHERE source = OLD.source AND row_id = OLD.row_id
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'Cannot update or delete rows from % table: % is not sealed yet', TG_TABLE_NAME, OLD.row_id;
END $$;

-- Adds what the database itself knows of who does it, which no client can forge. Arguments: columns whose values
-- are kept as a fingerprint only.
CREATE FUNCTION audit_stamp() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    FOR i IN 0 .. TG_NARGS - 1 LOOP
        NEW := jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[i], 'fingerprint ' || left(
            encode(sha256(convert_to(to_jsonb(NEW) ->> TG_ARGV[i], 'UTF8')), 'hex'), 16)));
    END LOOP;
    NEW.pgh_context := coalesce(NEW.pgh_context, '{}') || jsonb_build_object('database', jsonb_build_object(
        'role', session_user,
        'acting_as', current_user,
        'application', current_setting('application_name', true),
        'address', host(inet_client_addr()),
        'backend', pg_backend_pid(),
        'transaction', pg_current_xact_id()::text));
    RETURN NEW;
END $$;

CREATE FUNCTION audit_derived_only() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- One is this trigger itself, two the one on the watched table.
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'Cannot insert into %: only triggers on what it watches do', TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

-- What is left in a purged column.
CREATE FUNCTION audit_blank(kind text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE kind
        WHEN 'code' THEN '{"code": "", "arguments": "{}", "stdin": "", "argv": [], "variables": {}}'::jsonb
        WHEN 'output' THEN '{"stdout": "", "stderr": "", "result": null}'::jsonb
    END
$$;

-- Whether this transaction has recorded this purge, the execution is sealed, and its client's policy asks for it.
CREATE FUNCTION audit_purging(purged text, execution uuid) RETURNS boolean LANGUAGE sql STABLE
SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM audit_purgerecord record
        JOIN executions_execution e ON e.id = execution
        JOIN audit_retentionpolicy policy ON policy.client_id = e.client_id OR policy.client_id IS NULL
            AND NOT EXISTS (SELECT FROM audit_retentionpolicy own WHERE own.client_id = e.client_id)
        WHERE record.transaction = pg_current_xact_id()::text::bigint
            AND record.kind = purged AND execution = ANY(record.ids)
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

CREATE FUNCTION audit_guard_execution() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    kind text;
    generated jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF audit_purging('metadata', OLD.id) THEN RETURN OLD; END IF;
    ELSE
        -- They follow from the others, and are not computed yet in NEW.
        SELECT coalesce(jsonb_object_agg(attname, NULL), '{}') INTO generated
            FROM pg_attribute WHERE attrelid = TG_RELID AND attgenerated <> '';
        FOREACH kind IN ARRAY ARRAY['code', 'output'] LOOP
            IF jsonb_populate_record(NEW, generated)
                IS NOT DISTINCT FROM jsonb_populate_record(OLD, audit_blank(kind) || generated)
                AND audit_purging(kind, OLD.id)
            THEN
                RETURN NEW;
            END IF;
        END LOOP;
    END IF;
    RAISE EXCEPTION 'Cannot update or delete rows from % table: % is final', TG_TABLE_NAME, OLD.id;
END $$;

-- Of a row that belongs to an execution. Argument: the kind of purge that takes it away.
CREATE FUNCTION audit_guard_beside() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (
            SELECT FROM audit_leaf WHERE source = 'executions_execution' AND row_id = NEW.execution_id::text
        ) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'Cannot insert into %: execution % is sealed', TG_TABLE_NAME, NEW.execution_id;
    END IF;
    IF TG_OP = 'DELETE' AND (
        audit_purging(TG_ARGV[0], OLD.execution_id) OR audit_purging('metadata', OLD.execution_id)
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'Cannot update or delete rows from % table: row % is final', TG_TABLE_NAME, OLD.id;
END $$;

CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON executions_execution
    FOR EACH ROW
    WHEN (OLD.status IN ('succeeded', 'failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'cancelled', 'platform_error'))
    EXECUTE FUNCTION audit_guard_execution();
CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON executions_artifact
    FOR EACH ROW EXECUTE FUNCTION audit_guard_beside('artifacts');
CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON executions_inputfile
    FOR EACH ROW EXECUTE FUNCTION audit_guard_beside('code');
CREATE TRIGGER audit_pend_insert AFTER INSERT ON executions_execution
    FOR EACH ROW
    WHEN (NEW.status IN ('succeeded', 'failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'cancelled', 'platform_error'))
    EXECUTE FUNCTION audit_pend_execution();
CREATE TRIGGER audit_pend_update AFTER UPDATE ON executions_execution
    FOR EACH ROW
    WHEN (NEW.status IN ('succeeded', 'failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'cancelled', 'platform_error')
        AND OLD.status NOT IN ('succeeded', 'failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'cancelled', 'platform_error'))
    EXECUTE FUNCTION audit_pend_execution();
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON audit_pending
    FOR EACH ROW EXECUTE FUNCTION audit_guard_pending();

-- Of a row that belongs to a seccomp profile: it never changes, and goes only after its profile.
CREATE FUNCTION audit_guard_revision() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (
        SELECT FROM seccomp_profiles_seccompprofile WHERE id = OLD.profile_id
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'Cannot update or delete rows from % table: row % is final', TG_TABLE_NAME, OLD.id;
END $$;

CREATE FUNCTION audit_remove_revisions() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM seccomp_profiles_inspection WHERE revision_id IN (
        SELECT id FROM seccomp_profiles_seccomprevision WHERE profile_id = OLD.id);
    DELETE FROM seccomp_profiles_seccompactivation WHERE profile_id = OLD.id;
    DELETE FROM seccomp_profiles_seccomprevision WHERE profile_id = OLD.id;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON seccomp_profiles_seccomprevision
    FOR EACH ROW EXECUTE FUNCTION audit_guard_revision();
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON seccomp_profiles_seccompactivation
    FOR EACH ROW EXECUTE FUNCTION audit_guard_revision();
CREATE TRIGGER audit_remove_revisions AFTER DELETE ON seccomp_profiles_seccompprofile
    FOR EACH ROW EXECUTE FUNCTION audit_remove_revisions();

-- Of a request that an execution's program made: its second half is filled in once, and then it is final.
CREATE FUNCTION audit_guard_request() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    sealed boolean;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF audit_purging('metadata', OLD.execution_id) THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'Cannot update or delete rows from % table: row % is final', TG_TABLE_NAME, OLD.id;
    END IF;
    -- What ends after its execution may meet the seal that is being made: one of them waits.
    IF EXISTS (SELECT FROM executions_execution WHERE id = NEW.execution_id AND finished_at IS NOT NULL) THEN
        PERFORM pg_advisory_xact_lock_shared(7385003);
    END IF;
    SELECT EXISTS (
        SELECT FROM audit_leaf WHERE source = 'executions_execution' AND row_id = NEW.execution_id::text
    ) INTO sealed;
    IF sealed THEN
        RAISE EXCEPTION 'Cannot write to %: execution % is sealed', TG_TABLE_NAME, NEW.execution_id;
    END IF;
    IF TG_OP = 'UPDATE' AND (
        OLD.ended_at IS NOT NULL OR NOT OLD.allowed AND NEW.allowed
        OR (OLD.id, OLD.execution_id, OLD.at, OLD.method, OLD.host, OLD.port)
            IS DISTINCT FROM (NEW.id, NEW.execution_id, NEW.at, NEW.method, NEW.host, NEW.port)
    ) THEN
        RAISE EXCEPTION 'Cannot update or delete rows from % table: row % is final', TG_TABLE_NAME, OLD.id;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON executions_egressrequest
    FOR EACH ROW EXECUTE FUNCTION audit_guard_request();

-- Tables whose rows are history, or what history is about, are never truncated.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['executions_execution', 'executions_artifact', 'executions_inputfile',
        'executions_egressrequest', 'audit_pending'] LOOP
        EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', name);
    END LOOP;
END $$;

-- Makes a table append-only; with a key, its new rows also wait for their seal.
CREATE FUNCTION pg_temp.audit_append_only(history text, key text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_refuse()', history);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', history);
    IF key IS NOT NULL THEN
        EXECUTE format('CREATE TRIGGER audit_pend AFTER INSERT ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION audit_pend(%L)', history, key);
    END IF;
END $$;

SELECT pg_temp.audit_append_only('audit_seal');
SELECT pg_temp.audit_append_only('audit_leaf');
SELECT pg_temp.audit_append_only('audit_purgerecord', 'id');

-- Watches a table: its changes, which django-pghistory writes to `events`, are stamped, final and sealed. `secret`: a
-- column whose value is kept as a fingerprint only.
CREATE FUNCTION pg_temp.audit_watch(watched text, events text, secret text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit_stamp BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION audit_stamp(%s)',
        events, coalesce(quote_literal(secret), ''));
    PERFORM pg_temp.audit_append_only(events, 'pgh_id');
    EXECUTE format('CREATE TRIGGER audit_recorded BEFORE INSERT OR UPDATE OR DELETE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_unrecorded(%L)', watched, events);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', watched);
    EXECUTE format('CREATE TRIGGER audit_derived_only BEFORE INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_derived_only()', events);
END $$;

SELECT pg_temp.audit_watch('runtimes_runtime', 'audit_runtimeevent');
SELECT pg_temp.audit_watch('runtimes_runtimebuild', 'audit_runtimebuildevent');
SELECT pg_temp.audit_watch('seccomp_profiles_seccompprofile', 'audit_seccompprofileevent');
SELECT pg_temp.audit_watch('seccomp_profiles_seccomprevision', 'audit_seccomprevisionevent');
SELECT pg_temp.audit_watch('seccomp_profiles_seccompactivation', 'audit_seccompactivationevent');
SELECT pg_temp.audit_watch('executions_client', 'audit_clientevent');
SELECT pg_temp.audit_watch('executions_token', 'audit_tokenevent', 'token_sha256');
SELECT pg_temp.audit_watch('executions_egressrule', 'audit_egressruleevent');
SELECT pg_temp.audit_watch('audit_retentionpolicy', 'audit_retentionpolicyevent');
SELECT pg_temp.audit_watch('audit_redactionpattern', 'audit_redactionpatternevent');
DROP FUNCTION pg_temp.audit_watch(text, text, text);
DROP FUNCTION pg_temp.audit_append_only(text, text);
