-- People are watched like the rest of the configuration: see guards.sql, whose helpers lived only as long as its
-- session.
CREATE FUNCTION pg_temp.audit_watch_people(watched text, events text, secret text DEFAULT NULL, baseline boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns text;
BEGIN
    EXECUTE format('CREATE TRIGGER audit_stamp BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION audit_stamp(%s)',
        events, coalesce(quote_literal(secret), ''));
    EXECUTE format('CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_refuse()', events);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', events);
    EXECUTE format('CREATE TRIGGER audit_pend AFTER INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_pend(%L)', events, 'pgh_id');
    -- What there is already, so that the first change has a before.
    IF baseline THEN
        SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
            WHERE attrelid = events::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE 'pgh\_%';
        EXECUTE format('INSERT INTO %I (pgh_created_at, pgh_label, pgh_obj_id, %s)'
            ' SELECT now(), %L, id, %s FROM %I ORDER BY id', events, columns, 'baseline', columns, watched);
    END IF;
    EXECUTE format('CREATE TRIGGER audit_derived_only BEFORE INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION audit_derived_only()', events);
    EXECUTE format('CREATE TRIGGER audit_recorded BEFORE INSERT OR UPDATE OR DELETE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_unrecorded(%L)', watched, events);
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', watched);
END $$;

SELECT pg_temp.audit_watch_people('auth_user', 'audit_personevent', 'password');
SELECT pg_temp.audit_watch_people('auth_user_groups', 'audit_personroleevent');
SELECT pg_temp.audit_watch_people('auth_user_user_permissions', 'audit_personpermissionevent');
SELECT pg_temp.audit_watch_people('auth_group', 'audit_roleevent');
SELECT pg_temp.audit_watch_people('auth_group_permissions', 'audit_rolepermissionevent');
SELECT pg_temp.audit_watch_people('axes_accesslog', 'audit_loginevent', NULL, false);
DROP FUNCTION pg_temp.audit_watch_people(text, text, text, boolean);

-- A name that acted stays taken: a later user of the same name would otherwise stand for what an earlier one did.
CREATE FUNCTION audit_keep_person() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'Users are switched off, not deleted: set is_active of % to false', OLD.username;
END $$;
CREATE TRIGGER audit_keep_person BEFORE DELETE ON auth_user
    FOR EACH ROW EXECUTE FUNCTION audit_keep_person();
