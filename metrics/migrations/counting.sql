-- Reports what /metrics counts, in the transaction in which it happens. See metrics/counting.py for the order of labels
-- and amounts. The functions run as the owner, so that no service needs the right to report what did not happen.
CREATE FUNCTION metrics_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts) VALUES (
        'run',
        ARRAY[
            NEW.runtime_id::text,
            coalesce((SELECT role FROM executions_client WHERE id = NEW.client_id), 'none'),
            NEW.status,
            NEW.outcome,
            CASE WHEN NEW.warm THEN 'warm' WHEN NOT NEW.warm THEN 'cold' ELSE '' END
        ],
        ARRAY[
            extract(epoch FROM NEW.claimed_at - NEW.queued_at),
            extract(epoch FROM NEW.sandbox_at - NEW.claimed_at),
            extract(epoch FROM NEW.started_at - NEW.sandbox_at),
            extract(epoch FROM NEW.ended_at - NEW.started_at),
            extract(epoch FROM NEW.finished_at - NEW.ended_at),
            NEW.cpu_ms / 1000.0,
            NEW.requeues
        ]
    );
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_run_update AFTER UPDATE ON executions_execution
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.endpoint <> 'self-test')
    EXECUTE FUNCTION metrics_run();
CREATE TRIGGER metrics_run_insert AFTER INSERT ON executions_execution
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL AND NEW.endpoint <> 'self-test') EXECUTE FUNCTION metrics_run();

-- A start that was overtaken (the run was cancelled or queued again) has lost its execution.
CREATE FUNCTION metrics_start() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts) VALUES (
        'start',
        ARRAY[
            NEW.engine,
            CASE WHEN NEW.ready_at IS NOT NULL THEN 'ready'
                WHEN OLD.execution_id IS NOT NULL AND NEW.execution_id IS NULL THEN 'abandoned'
                ELSE 'failed' END
        ],
        ARRAY[extract(epoch FROM NEW.ready_at - NEW.created_at)]
    );
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_start AFTER UPDATE ON executions_sandbox
    FOR EACH ROW WHEN (OLD.state = 'starting' AND NEW.state <> 'starting' AND NOT OLD.held)
    EXECUTE FUNCTION metrics_start();

CREATE FUNCTION metrics_refusal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts, times) VALUES (
        'refusal', ARRAY[NEW.kind], '{}', NEW.count - CASE TG_OP WHEN 'UPDATE' THEN OLD.count ELSE 0 END
    );
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_refusal_update AFTER UPDATE ON usage_refusal
    FOR EACH ROW WHEN (NEW.count > OLD.count) EXECUTE FUNCTION metrics_refusal();
CREATE TRIGGER metrics_refusal_insert AFTER INSERT ON usage_refusal
    FOR EACH ROW WHEN (NEW.count > 0) EXECUTE FUNCTION metrics_refusal();

CREATE FUNCTION metrics_attempt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts) VALUES (
        'attempt',
        ARRAY[CASE WHEN NEW.status_code BETWEEN 100 AND 599 THEN NEW.status_code / 100 || 'xx' ELSE 'none' END],
        ARRAY[NEW.duration_ms / 1000.0]
    );
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_attempt AFTER INSERT ON executions_deliveryattempt
    FOR EACH ROW EXECUTE FUNCTION metrics_attempt();

CREATE FUNCTION metrics_delivery() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts) VALUES ('delivery', ARRAY[NEW.status], '{}');
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_delivery AFTER UPDATE ON executions_delivery
    FOR EACH ROW WHEN (OLD.status = 'pending' AND NEW.status <> 'pending') EXECUTE FUNCTION metrics_delivery();

CREATE FUNCTION metrics_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO metrics_event (name, labels, amounts)
    VALUES ('message', ARRAY[CASE WHEN NEW.ok THEN 'sent' ELSE 'failed' END], '{}');
    RETURN NULL;
END $$;

CREATE TRIGGER metrics_message AFTER INSERT ON alerts_attempt
    FOR EACH ROW EXECUTE FUNCTION metrics_message();
