"""The callbacks service as a process of its own, with its own role: it watches the keeper, and tells."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import database
from tests.alerts.conftest import Receiver
from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def without_keeper(tmp_path: Path) -> Iterator[Platform]:
    """Postgres and callbacks alone, as if everything else had died."""
    platform = Platform(tmp_path, roles=True, SANDBOX_CALLBACK_NETWORKS="127.0.0.0/8")
    platform.postgres = database.bootstrapped(tmp_path, platform.seeds)
    platform.postgres.start()
    try:
        platform.manage("grant_roles")
        yield platform
    finally:
        platform.stop()


def test_dead_keeper_is_told_and_so_is_its_return(without_keeper: Platform, receiver: Receiver) -> None:
    platform = without_keeper
    platform.sql("UPDATE alerts_rule SET pending_ms = 0, recover_ms = 0")
    platform.sql("INSERT INTO sandboxes_node VALUES ('lost', now(), NULL, NULL, '')")
    platform.sql(
        "INSERT INTO alerts_channel (name, kind, enabled, lowest_severity, recipients, url, host, secret_version,"
        " created_at) VALUES ('hook', 'webhook', true, 'info', '{}', %s, '127.0.0.1', 1, now())",
        receiver.url,
    )
    platform.spawn("callbacks")

    def told(number: int) -> list[dict[str, str]]:
        eventually(lambda: len(receiver.received) >= number, f"{number} messages\n{platform.logs()}", 120)
        return list(json.loads(receiver.received[number - 1].body)["data"]["alerts"])

    (alert,) = told(1)
    assert (alert["event"], alert["rule"], alert["subject"]) == ("firing", "Keeper gone", "node lost")
    platform.sql("DELETE FROM sandboxes_node")
    platform.sql("UPDATE alerts_rulestate SET evaluated_at = NULL")
    (alert,) = told(2)
    assert (alert["event"], alert["subject"]) == ("resolved", "node lost")
    jobs = {row["job"] for row in platform.sql("SELECT job FROM console_jobrun WHERE error = ''")}
    assert "Evaluate alerts about the keeper" in jobs
