"""The way out of programs, through door, gateway and proxy, each in its own pod, and the NetworkPolicies between."""

import pytest

from tests.cluster.release import Caller, Object, Release, given_image, run, within
from tests.executions.egress.programs import FETCH

TARGET, FORBIDDEN = "target", "forbidden"
OPEN = """
from clients.models import Client
from django.db.models import F
from executions.egress.models import EgressRule
from runtimes.models import Runtime
Client.objects.filter(name="ragflow").update(network="egress")
Runtime.objects.filter(slug="python").update(network="egress", revision=F("revision") + 1)
EgressRule.objects.get_or_create(domain={domain!r})
"""


@pytest.fixture(scope="module")
def target(release: Release) -> str:
    """A web server in a pod of its own, whose address and name the administrator has opened; its namespace's domain."""
    domain = f"{release.namespace}.svc.cluster.local"
    image, policy = given_image("platform")
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": TARGET, "labels": {"app": TARGET}},
        "spec": {"containers": [{
            "name": TARGET, "image": image, "imagePullPolicy": policy,
            "command": ["python3", "-m", "http.server", "80", "--directory", "/usr/share/zoneinfo"],
            "securityContext": {"runAsUser": 0},
        }]},
    }  # fmt: skip
    services = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
         "spec": {"clusterIP": "None", "selector": {"app": TARGET}, "ports": [{"port": 80}]}}
        for name in (TARGET, FORBIDDEN)
    ]  # fmt: skip
    release.apply(pod, *services)
    release.until_pod_is_ready(TARGET)
    address = release.get(f"pod/{TARGET}")["status"]["podIP"]
    release.upgrade({"settings": {"SANDBOX_EGRESS_NETWORKS": f"{address}/32"}})
    release.wait_until_ready()
    release.exec("web", "python3", "manage.py", "shell", "-c", OPEN.format(domain=f"{TARGET}.{domain}"))
    return domain


def test_a_program_reaches_the_allowed_host_and_no_other(caller: Caller, target: str) -> None:
    urls = [f"http://{TARGET}.{target}/", f"http://{FORBIDDEN}.{target}/"]
    ended = run(caller, FETCH["python"], argv=urls)
    assert (ended["status"], ended["stdout"]) == ("succeeded", "[200, 403]\n"), ended


def test_its_requests_are_on_record(caller: Caller, target: str) -> None:
    ended = run(caller, FETCH["python"], argv=[f"http://{TARGET}.{target}/"])

    def told() -> Object | None:
        """The proxy may tell the end of a request a moment after the run's own."""
        (found,) = caller.send("GET", f"/api/v1/executions/{ended['id']}/requests")["body"]
        return dict(found) if found["ended_at"] else None

    request = within(60, told)
    assert (request["host"], request["allowed"], request["status"]) == (f"{TARGET}.{target}", True, 200)


def test_a_pod_that_is_no_agent_does_not_reach_the_gateway(release: Release, caller: Caller) -> None:
    """Only where the network plugin enforces NetworkPolicies."""
    script = (
        "import socket\n"
        f"try:\n    socket.create_connection(('{release.prefix}-egress', 3130), 5)\n    print('connected')\n"
        "except OSError:\n    print('not reached')\n"
    )
    assert caller.python(script).strip() == "not reached"
