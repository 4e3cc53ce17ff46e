-- Rules, channels and silences of alerts are watched like people: see people.sql. Of a channel's URL, with which anybody
-- can post, the trail keeps a fingerprint.
SELECT pg_temp.audit_watch('alerts_rule', 'audit_alertruleevent');
SELECT pg_temp.audit_watch('alerts_channel', 'audit_alertchannelevent', 'url');
SELECT pg_temp.audit_watch('alerts_silence', 'audit_silenceevent');
DROP FUNCTION pg_temp.audit_watch(text, text, text);
