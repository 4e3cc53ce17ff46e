-- Second factors and identities at the OpenID provider are watched like people: see people.sql.
CREATE FUNCTION pg_temp.audit_watch_sign_on(watched text, events text, secret text DEFAULT NULL) RETURNS void
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

SELECT pg_temp.audit_watch_sign_on('mfa_authenticator', 'audit_factorevent');
SELECT pg_temp.audit_watch_sign_on('people_identity', 'audit_identityevent');
DROP FUNCTION pg_temp.audit_watch_sign_on(text, text, text);
