-- Names a run that has failed, in the transaction that ends it. The function runs as the owner: no service may name a
-- run that has not failed.
CREATE FUNCTION failure_pends() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO executions_failurepending (execution_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER failure_update AFTER UPDATE ON executions_execution
    FOR EACH ROW
    WHEN (OLD.finished_at IS NULL AND (NEW.outcome = 'queue_timeout' OR NEW.status IN
        ('failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'platform_error')))
    EXECUTE FUNCTION failure_pends();
CREATE TRIGGER failure_insert AFTER INSERT ON executions_execution
    FOR EACH ROW
    WHEN (NEW.outcome = 'queue_timeout' OR NEW.status IN
        ('failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'platform_error'))
    EXECUTE FUNCTION failure_pends();

-- What has failed already, as long ago as groups are kept. The first 48 bits of an id are its time in milliseconds.
INSERT INTO executions_failurepending (execution_id)
SELECT id FROM executions_execution
WHERE id >= (lpad(to_hex((extract(epoch FROM now() - interval '90 days') * 1000)::bigint), 12, '0')
        || repeat('0', 20))::uuid
    AND finished_at IS NOT NULL AND (outcome = 'queue_timeout' OR status IN
        ('failed', 'timed_out', 'out_of_memory', 'output_limit', 'rejected', 'platform_error'));
