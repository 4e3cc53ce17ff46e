import urllib.error
import urllib.request

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from builds.services import AVAILABLE_WITH, why_unavailable
from executions.models import Execution, Status
from runtimes.models import Network, Runtime
from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandbox_platform.kit.liveness import builders_alive, callbacks_alive, keeper_alive, workers_alive
from sandboxes import doors
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import EngineError
from sandboxes.models import Sandbox, SandboxState

LONG_WAIT_S = 60
REFUSED_ADDRESS = "ERR_EGRESS_ADDRESS"
# Addresses of the web process: on the host, in the stack's network, and under the name RAGFlow uses.
ADDRESSES = (
    f"http://127.0.0.1:{settings.RAGFLOW_PORT}",
    "http://web:9385",
    "http://sandbox-executor-manager:9385",
)
START = "run `make start`, then `make logs`"


def workers(name: str) -> Check:
    alive = workers_alive(settings.SANDBOX_NODE)
    if alive == 0:
        return broken(name, f"none on node {settings.SANDBOX_NODE}: no execution runs", START)
    return ok(name, f"{alive} cluster of {settings.SANDBOX_WORKERS} on node {settings.SANDBOX_NODE}")


def queue(name: str) -> Check:
    queued = Execution.objects.filter(status=Status.QUEUED)
    oldest = queued.aggregate(oldest=Min("queued_at"))["oldest"]
    if oldest is None:
        return ok(name, "empty")
    age = (timezone.now() - oldest).total_seconds()
    detail = f"{queued.count()} waiting, the oldest for {age:.0f} s"
    if age > LONG_WAIT_S:
        return warning(name, detail, "raise SANDBOX_WORKERS, add a node, or see `make logs SERVICE=worker`")
    return ok(name, detail)


def keeper(name: str) -> Check:
    if keeper_alive(settings.SANDBOX_NODE):
        return ok(name, f"alive on node {settings.SANDBOX_NODE}")
    return broken(name, f"none on node {settings.SANDBOX_NODE}: the pool is not refilled", START)


def callbacks(name: str) -> Check:
    if alive := callbacks_alive():
        return ok(name, f"{alive} delivery cluster")
    fix = "run `make start`, then `make logs SERVICE=callbacks`"
    return warning(name, "no process delivers callbacks: deliveries wait", fix)


def builder(name: str) -> Check:
    if why := why_unavailable():
        return warning(name, why, AVAILABLE_WITH)
    if builders_alive():
        return ok(name, "alive")
    return warning(name, "no process makes builds: they wait", "start `manage.py builder`; see docs/builds.md")


def egress(name: str) -> Check:
    """Check that the gateway and the proxy answer, and that the proxy refuses internal addresses of allowed hosts."""
    wanted = Runtime.objects.enabled().filter(network=Network.EGRESS).exists()
    try:
        tried: dict[str, str] = doors.ask({"try": True}, patience_s=30)["tried"]
    except EngineError as e:
        state = broken if wanted else warning
        return state(name, str(e), "run `make start`, then `make logs SERVICE=egress`")
    if wrong := {host: answer for host, answer in tried.items() if answer != REFUSED_ADDRESS}:
        host, answer = next(iter(wrong.items()))
        return broken(
            name, f"the proxy answers a request for {host} with: {answer}", "see `make logs SERVICE=proxy`"
        )
    return ok(name, f"the proxy answers and refuses {', '.join(tried)}")


def pool(name: str) -> Check:
    counts = {
        runtime.slug: (_ready(runtime), runtime.pool_min)
        for runtime in Runtime.objects.enabled().select_related("seccomp_profile__active")
    }
    detail = ", ".join(f"{slug} {ready} of {wanted}" for slug, (ready, wanted) in counts.items())
    if any(ready < wanted for ready, wanted in counts.values()):
        fix = "wait a moment after a start or a burst, otherwise see `make logs SERVICE=keeper`"
        return warning(name, f"{detail} ready: some runs are cold starts", fix)
    return ok(name, f"{detail or 'no runtime is enabled'} ready")


def _ready(runtime: Runtime) -> int:
    return Sandbox.objects.filter(
        node=settings.SANDBOX_NODE,
        runtime=runtime,
        runtime_revision=runtime.revision,
        profile_sha256=SandboxConfiguration.of_runtime(runtime).profile_sha256,
        network=Network.NONE,
        state=SandboxState.READY,
    ).count()


def port(name: str) -> Check:
    answers = {address: _healthz(address) for address in ADDRESSES}
    for address, answer in answers.items():
        if not answer:
            return ok(name, f"{address}/healthz answers")
    first = next(iter(answers))
    return broken(name, f"{first}/healthz: {answers[first]}", START)


def _healthz(address: str) -> str:
    """Return why GET /healthz failed, or "" if it succeeded."""
    # The request stays on this host or in the stack's network: ignore the environment's HTTP proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/healthz", timeout=3):
            return ""
    except (urllib.error.URLError, OSError) as e:
        return str(e)
