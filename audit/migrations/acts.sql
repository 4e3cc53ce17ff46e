-- Acts and settings are watched like people: see people.sql. Acts grow only.
SELECT pg_temp.audit_watch('audit_act', 'audit_actevent');
SELECT pg_temp.audit_watch('audit_setting', 'audit_settingevent', 'secret_hash');
DROP FUNCTION pg_temp.audit_watch(text, text, text);
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_act
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
