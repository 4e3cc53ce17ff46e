"""The shipped rules and dashboard: well-formed, about figures that exist, and explained."""

import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.utils import timezone
from pytest_django import Settings

from executions.models import Execution
from metrics import adding
from sandboxes.models import Node
from scripts.setup import secret_files
from tests.deploy.prometheus import DASHBOARD, FOLDER, NAME, known, program, queries
from tests.live import ROOT
from tests.metrics.reading import TOKEN

RULES = yaml.safe_load((FOLDER / "sandbox-platform.rules.yml").read_text())["groups"][0]["rules"]
MANUAL = (ROOT / "docs" / "monitoring.md").read_text()


def promtool(*words: str | Path, stdin: bytes | None = None) -> str:
    done = subprocess.run([program("promtool"), *words], cwd=FOLDER, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.yml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "metrics_token").write_text(TOKEN)
    assert f"{len(RULES)} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "sandbox-platform.rules.test.yml")


@pytest.mark.django_db
def test_promtool_finds_no_fault_in_what_the_platform_says(
    settings: Settings, make_execution: Callable[..., Execution], client: Any
) -> None:
    settings.SANDBOX_METRICS_TOKEN = TOKEN
    at = timezone.now()
    make_execution(claimed_at=at, sandbox_at=at, started_at=at, ended_at=at)
    Node.objects.create(name="n1", seen_at=at, disk_free_bytes=1, disk_total_bytes=2, gvisor_version="1")
    adding.add_up()
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert promtool("check", "metrics", stdin=answer.content) == ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_is_about_figures_that_exist_and_is_explained(rule: dict[str, Any]) -> None:
    assert set(NAME.findall(rule["expr"])) <= known()
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
    (section,) = re.findall(rf"^### {rule['alert']}\n\n(.+?)(?=^##|\Z)", MANUAL, re.MULTILINE | re.DOTALL)
    assert len(section.split()) > 10


def test_each_panel_is_about_figures_that_exist() -> None:
    asked = {name for _, expression in queries() for name in NAME.findall(expression)}
    assert asked <= known()


def test_each_figure_is_in_the_manual() -> None:
    for name in known():
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{plain}" in MANUAL or f"`{name}" in MANUAL, name


def test_each_figure_has_its_panel() -> None:
    asked = {name for _, expression in queries() for name in NAME.findall(expression)}
    left_out = {name for name in known() - asked if not name.endswith(("_sum", "_count"))}
    assert not left_out


def test_no_panel_covers_another() -> None:
    def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        yield from ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))

    for one, other in combinations(DASHBOARD["panels"], 2):
        assert not set(cells(one)) & set(cells(other)), (one["title"], other["title"])


def test_panels_have_ids_units_and_the_chosen_data_source() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


def test_the_token_reaches_only_the_web() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {name for name, service in services.items() if "metrics_token" in service.get("secrets", ())} == {"web"}
    assert secret_files.VARIABLES["metrics_token"] == "SANDBOX_METRICS_TOKEN"


def test_the_network_of_monitoring_has_no_way_out() -> None:
    overlay = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())
    assert overlay["networks"]["monitoring"]["internal"] is True
    assert set(overlay["services"]) == {"web", "worker", "keeper", "callbacks", "egress"}
