"""Every service has limits, and no folder in memory without a size."""

from typing import Any

import pytest
import yaml

from tests.live import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_service_is_limited(service: dict[str, Any]) -> None:
    assert {"mem_limit", "cpu_quota", "pids_limit"} <= service.keys()
    assert all("size=" in mount for mount in service["tmpfs"])


def test_the_web_gets_the_settings_that_bound_its_callers() -> None:
    example = (ROOT / ".env.example").read_text()
    given = SERVICES["web"]["environment"]
    for name in ("SANDBOX_MAX_", "SANDBOX_WEB_", "SANDBOX_POLICY_"):
        named = {line.partition("=")[0] for line in example.splitlines() if line.startswith(name)}
        assert named - {"SANDBOX_WEB_CONTAINER", "SANDBOX_WEB_MEMORY"} <= given.keys()
