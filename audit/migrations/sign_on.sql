-- Second factors and identities at the OpenID provider are watched like people: see people.sql.
SELECT pg_temp.audit_watch('mfa_authenticator', 'audit_factorevent');
SELECT pg_temp.audit_watch('people_identity', 'audit_identityevent');
DROP FUNCTION pg_temp.audit_watch(text, text, text);
