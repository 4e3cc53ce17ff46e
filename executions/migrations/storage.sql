-- What a run, its files or a purge adds to what its client stores. executions/storage.py counts the same from scratch.
-- The functions run as the owner: no service may insert a change that nothing was stored for.
CREATE FUNCTION storage_of_execution() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    delta bigint := 0;
BEGIN
    IF TG_OP <> 'DELETE' THEN
        -- The length of a text is known without reading the text.
        delta := 1024 + octet_length(NEW.code) + octet_length(NEW.arguments) + octet_length(NEW.stdin)
            + octet_length(NEW.argv::text) + octet_length(NEW.variables::text) + octet_length(NEW.labels::text)
            + octet_length(NEW.message) + octet_length(NEW.policy_violations::text)
            + octet_length(NEW.stdout) + octet_length(NEW.stderr) + coalesce(octet_length(NEW.result), 0);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        delta := delta - (1024 + octet_length(OLD.code) + octet_length(OLD.arguments) + octet_length(OLD.stdin)
            + octet_length(OLD.argv::text) + octet_length(OLD.variables::text) + octet_length(OLD.labels::text)
            + octet_length(OLD.message) + octet_length(OLD.policy_violations::text)
            + octet_length(OLD.stdout) + octet_length(OLD.stderr) + coalesce(octet_length(OLD.result), 0));
    END IF;
    IF delta <> 0 THEN
        INSERT INTO executions_storagechange (client_id, bytes) VALUES (coalesce(NEW.client_id, OLD.client_id), delta);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION storage_of_file() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO executions_storagechange (client_id, bytes)
            SELECT client_id, 256 + octet_length(NEW.content) FROM executions_execution
            WHERE id = NEW.execution_id AND client_id IS NOT NULL;
    ELSE
        INSERT INTO executions_storagechange (client_id, bytes)
            SELECT client_id, -256 - octet_length(OLD.content) FROM executions_execution
            WHERE id = OLD.execution_id AND client_id IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;

-- An update counts when it ends the execution or, later, purges a part of it: no other one changes what is counted.
CREATE TRIGGER storage_insert AFTER INSERT ON executions_execution
    FOR EACH ROW WHEN (NEW.client_id IS NOT NULL) EXECUTE FUNCTION storage_of_execution();
CREATE TRIGGER storage_update AFTER UPDATE ON executions_execution
    FOR EACH ROW WHEN (NEW.client_id IS NOT NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION storage_of_execution();
CREATE TRIGGER storage_delete AFTER DELETE ON executions_execution
    FOR EACH ROW WHEN (OLD.client_id IS NOT NULL) EXECUTE FUNCTION storage_of_execution();
CREATE TRIGGER storage AFTER INSERT OR DELETE ON executions_inputfile
    FOR EACH ROW EXECUTE FUNCTION storage_of_file();
CREATE TRIGGER storage AFTER INSERT OR DELETE ON executions_artifact
    FOR EACH ROW EXECUTE FUNCTION storage_of_file();

-- What there is already.
INSERT INTO executions_clientstorage (client_id, bytes)
SELECT client_id, sum(bytes) FROM (
    SELECT client_id, 1024 + octet_length(code) + octet_length(arguments) + octet_length(stdin)
        + octet_length(argv::text) + octet_length(variables::text) + octet_length(labels::text)
        + octet_length(message) + octet_length(policy_violations::text)
        + octet_length(stdout) + octet_length(stderr) + coalesce(octet_length(result), 0) AS bytes
    FROM executions_execution
    UNION ALL
    SELECT e.client_id, 256 + octet_length(f.content)
    FROM executions_inputfile f JOIN executions_execution e ON e.id = f.execution_id
    UNION ALL
    SELECT e.client_id, 256 + octet_length(f.content)
    FROM executions_artifact f JOIN executions_execution e ON e.id = f.execution_id
) part WHERE client_id IS NOT NULL GROUP BY client_id;
