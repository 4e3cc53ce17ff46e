-- Watches a table as guards.sql does, whose helpers lived only as long as its session. Each migration that watches more
-- tables runs this first.
CREATE FUNCTION pg_temp.audit_watch(watched text, events text, secret text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit_stamp BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION audit_stamp(%s)',
        events, coalesce(quote_literal(secret), ''));
    EXECUTE format('CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_refuse()', events);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', events);
    EXECUTE format('CREATE TRIGGER audit_pend AFTER INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_pend(%L)', events, 'pgh_id');
    EXECUTE format('CREATE TRIGGER audit_derived_only BEFORE INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_derived_only()', events);
    EXECUTE format('CREATE TRIGGER audit_recorded BEFORE INSERT OR UPDATE OR DELETE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_unrecorded(%L)', watched, events);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', watched);
END $$;
