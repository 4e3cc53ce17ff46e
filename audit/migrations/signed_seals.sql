-- The keys of seals are history, like the seals: see guards.sql.
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_sealkey
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_sealkey
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate();
