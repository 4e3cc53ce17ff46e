"""What programs with egress reach: the stack's proxy, and an internet of one server that remembers who came."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import requests

from bench.chaos.relay import Relay
from tests.executions.egress.conftest import ALLOWED, internet, proxy, secret_in
from tests.executions.test_resilience import PROC, descendants
from tests.live import Platform, free_port

# The platform's client whose programs may call out.
TOKEN = "chaos-egress-0123456789abcdef"  # noqa: S105 -- of a platform that lives for minutes
CLIENT = f"from clients.models import Client; Client.objects.create_with_token('egress', {TOKEN!r})"
ALLOW = "INSERT INTO executions_egressrule (domain, enabled, note, created_at) VALUES (%s, true, '', now())"
VISIT = f"http://{ALLOWED}/keep"
RECORDED = """
    SELECT execution_id::text AS id, count(*) AS requests FROM executions_egressrequest WHERE allowed GROUP BY 1
"""


def start_of(pid: int) -> str:
    """Return when the process began, in the kernel's ticks; "" if there is none."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


class Outside:
    """The proxy is behind a relay on the way there, and the gateway behind another on the way back."""

    def __init__(self, folder: Path) -> None:
        self.doors, self._secret = folder / "doors", secret_in(folder)
        self._proxy_port, self._gateway_port = free_port(), free_port()
        self.relays = (Relay(lambda: self._proxy_port), Relay(lambda: self._gateway_port))
        self._proxy: Any = None
        self._address = ""
        # The proxy's process when Docker was last asked, with its start: others may get its number.
        self._known: tuple[int, str] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of a platform that uses it."""
        return {
            "SANDBOX_EGRESS_DIR": str(self.doors),
            "SANDBOX_EGRESS_PROXY": f"127.0.0.1:{self.relays[0].port}",
            "SANDBOX_EGRESS_LISTEN": f"127.0.0.1:{self._gateway_port}",
            "SANDBOX_EGRESS_SECRET_FILE": str(self._secret),
        }

    @contextlib.contextmanager
    def open(self, label: str) -> Iterator["Outside"]:
        """Start the proxy and the server. `label`: the value of the label of their containers."""
        labels = {"sandbox-platform-test": label}
        with contextlib.ExitStack() as stack:
            for relay in self.relays:
                stack.callback(relay.close)
            client = stack.enter_context(contextlib.closing(docker.DockerClient.from_env()))
            self._address = stack.enter_context(internet(client, labels))
            settings = {
                "SANDBOX_EGRESS_GATEWAY": f"127.0.0.1:{self.relays[1].port}",
                "SANDBOX_EGRESS_BIND": f"127.0.0.1:{self._proxy_port}",
                "SANDBOX_EGRESS_NETWORKS": f"{self._address}/32",
            }
            hosts = {ALLOWED: self._address}
            self._proxy = stack.enter_context(proxy(client, labels, hosts, self._secret, **settings))
            yield self

    def admit(self, platform: Platform) -> None:
        """Give the platform a client whose Python programs may visit the server."""
        platform.manage("shell", "-c", CLIENT)
        platform.sql("UPDATE executions_client SET network = 'egress' WHERE name = 'egress'")
        platform.sql(ALLOW, ALLOWED)
        platform.change_runtime("python", network="egress")

    def revive(self) -> None:
        """Start the proxy again if it has ended."""
        if not self.pids():
            self._look()
            if self._proxy.status != "running":
                self._proxy.start()
                self._look()

    def pids(self) -> list[int]:
        """Return every process of the proxy."""
        pid, begun = self._known or self._look()
        return [pid, *descendants(pid)] if begun and start_of(pid) == begun else []

    def _look(self) -> tuple[int, str]:
        self._proxy.reload()
        pid = int(self._proxy.attrs["State"]["Pid"])
        self._known = pid, start_of(pid)
        return self._known

    def visits(self) -> Counter[str]:
        """Return who came to the server, and how often: what they sent."""
        answer = requests.get(f"http://{self._address}/kept", timeout=30)
        return Counter(answer.json()["kept"])

    def doors_of(self) -> set[str]:
        """Return the names of the folders with doors, which are the ids of their sandboxes' rows."""
        return {path.name for path in self.doors.glob("*/[0-9]*")}
