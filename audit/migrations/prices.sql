-- Prices are watched like the configuration: see audit_watch in guards.sql.
CREATE TRIGGER audit_stamp BEFORE INSERT ON audit_priceevent
    FOR EACH ROW EXECUTE FUNCTION audit_stamp();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_priceevent
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_priceevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate();
CREATE TRIGGER audit_pend AFTER INSERT ON audit_priceevent
    FOR EACH ROW EXECUTE FUNCTION audit_pend('pgh_id');
CREATE TRIGGER audit_derived_only BEFORE INSERT ON audit_priceevent
    FOR EACH ROW EXECUTE FUNCTION audit_derived_only();
CREATE TRIGGER audit_recorded BEFORE INSERT OR UPDATE OR DELETE ON usage_price
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_unrecorded('audit_priceevent');
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON usage_price
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate();
