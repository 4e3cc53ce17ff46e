from datetime import UTC, datetime

from django.template import Context, Template


def test_a_time_is_written_as_in_logs_and_exports() -> None:
    at = datetime(2026, 1, 2, 13, 4, 5, tzinfo=UTC)
    shown = Template("{{ at }} {{ at.date }} {{ at.time }}").render(Context({"at": at}))
    assert shown == "2026-01-02 13:04:05 2026-01-02 13:04:05"
