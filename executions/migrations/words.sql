-- What full-text search looks at: the words of code and output, and marks of the client and of the time, which begin
-- with a character that no word of a text does. See executions/searching.py and executions/models/lookup.py.
-- A tsvector holds at most 1 MiB, and a longer one would fail the row: what lies beyond 20,000 characters is not
-- searched. The function costs thousands of times what an operator does, and Postgres must know: it would compute it
-- row by row where the index has it. In SQL it would be taken apart and its cost forgotten, hence plpgsql.
CREATE FUNCTION execution_words(id uuid, client_id bigint, code text, stdout text, stderr text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 100000 AS $$
BEGIN
    RETURN to_tsvector('pg_catalog.simple', left(code, 20000) || ' '
            || left(stdout, 20000) || ' ' || left(stderr, 20000))
        || array_to_tsvector(ARRAY['@c' || coalesce(client_id::text, ''),
            '@' || left(id::text, 4), '@' || left(id::text, 5), '@' || left(id::text, 6), '@' || left(id::text, 7), '@' || left(id::text, 8)]);
END $$;
