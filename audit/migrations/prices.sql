-- Prices are watched like the configuration.
SELECT pg_temp.audit_watch('usage_price', 'audit_priceevent');
DROP FUNCTION pg_temp.audit_watch(text, text, text);
