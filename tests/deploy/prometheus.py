"""Debian's Prometheus with the shipped configuration, and what its API answers."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from metrics.counting import COUNTERS, HISTOGRAMS
from sandbox_platform.kit import metrics
from scripts.setup import prometheus
from tests.live import ROOT, eventually, free_port

FOLDER = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((FOLDER / "grafana" / "sandbox-platform.json").read_text())
NAME = re.compile(r"\bsandbox_[a-z_]+")
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$runtime": ".*"}


def program(name: str) -> str:
    found = prometheus.program(name)
    assert found, f"{name} is missing: run `python3 -m scripts.setup ensure_prometheus`"
    return str(found)


def known() -> set[str]:
    """The names of all series of the platform, as Prometheus sees them."""
    plain = {figure.name for reading in metrics.declared() for figure in reading.figures}
    plain |= {counter.name for counter in COUNTERS} | {"build_info", "scrape_seconds"}
    plain |= {f"{one.name}_{part}" for one in HISTOGRAMS for part in ("bucket", "sum", "count")}
    return {f"{metrics.PREFIX}{name}" for name in plain}


def queries() -> Iterator[tuple[str, str]]:
    """Yield title and expression of each query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        return list(self.get("query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """The value of an expression with one series; None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None


@contextmanager
def running(folder: Path, *, port: int, token: str) -> Iterator[Prometheus]:
    """The shipped configuration, but for the target's port and the intervals."""
    folder.mkdir(exist_ok=True)
    for name in ("prometheus.yml", "sandbox-platform.rules.yml"):
        text = (FOLDER / name).read_text()
        (folder / name).write_text(text.replace("localhost:9385", f"localhost:{port}").replace("15s", "1s"))
    (folder / "metrics_token").write_text(token)
    listen = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(
            [
                program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={listen}",
                f"--storage.tsdb.path={folder / 'data'}",
            ],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        one = Prometheus(f"http://{listen}")

        def ready() -> bool:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            try:
                return requests.get(f"{one.url}/-/ready", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        eventually(ready, "Prometheus is ready")
        yield one
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder / "data", ignore_errors=True)
