-- Paths of an execution's files may hold secrets. As long as the execution is open, redaction may change the path of an
-- input file, and nothing else of it. See guards.sql for the rest.
CREATE OR REPLACE FUNCTION audit_guard_beside() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (
            SELECT FROM audit_leaf WHERE source = 'executions_execution' AND row_id = NEW.execution_id::text
        ) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'Cannot insert into %: execution % is sealed', TG_TABLE_NAME, NEW.execution_id;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'executions_inputfile' THEN
        IF (NEW.id, NEW.execution_id, NEW.content) IS NOT DISTINCT FROM (OLD.id, OLD.execution_id, OLD.content)
            AND EXISTS (SELECT FROM executions_execution WHERE id = OLD.execution_id AND finished_at IS NULL)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' AND (
        audit_purging(TG_ARGV[0], OLD.execution_id) OR audit_purging('metadata', OLD.execution_id)
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'Cannot update or delete rows from % table: row % is final', TG_TABLE_NAME, OLD.id;
END $$;
