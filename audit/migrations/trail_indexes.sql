-- The list of changes is read along indexes: the newest of all watched tables by their time, and those with a text by
-- its trigrams.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- The text of an entry that a search looks at, in capital letters. It is immutable for what entries hold, because the
-- settings on which JSON depends are fixed. Trigrams do not reach across a dot, and the parts of an address are in
-- nearly every entry: so dots are written as letters. COST: what turning a row into JSON takes.
CREATE FUNCTION audit_text(entry anyelement) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 2000
SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN replace(upper(row_to_json(entry)::text), '.', 'Q0Z');
END $$;

-- Without statistics, which would need the texts of 30,000 entries of each table.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^audit_[a-z]+event$'
    LOOP
        EXECUTE format('CREATE INDEX %I ON %I USING gin (audit_text(%2$I.*) gin_trgm_ops)', name || '_text', name);
        EXECUTE format('ALTER INDEX %I ALTER COLUMN 1 SET STATISTICS 0', name || '_text');
    END LOOP;
END $$;
