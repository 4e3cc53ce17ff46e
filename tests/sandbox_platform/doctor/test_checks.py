from collections import namedtuple
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from builds.models import RuntimeBuild
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandbox_platform.doctor import Status as Finding
from sandbox_platform.doctor import database, docker, host, service
from sandbox_platform.kit.liveness import hold_callbacks, hold_keeper, hold_worker
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import hash_rules

INFO: dict[str, Any] = {
    "ServerVersion": "26.1.5",
    "NCPU": 2,
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "DockerRootDir": "/",
    "Runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none", "--oci-seccomp"]}},
}


class StubEngine:
    def __init__(self) -> None:
        self.facts = dict(INFO)
        self.images = {"sandbox-platform/runtime-python:latest"}
        self.runsc = "release-20260330.0"

    def info(self) -> dict[str, Any]:
        if not self.facts:
            raise EngineError("docker: connection refused")
        return self.facts

    def version(self) -> str:
        return self.runsc

    def image_id(self, image: str) -> str:
        if image not in self.images:
            raise ImageMissing(image)
        return "sha256:1"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, settings) -> StubEngine:
    settings.SANDBOX_GVISOR_RUNTIME = "runsc"
    stub = StubEngine()
    monkeypatch.setattr(docker, "get_engine", lambda: stub)
    monkeypatch.setattr(host, "get_engine", lambda: stub)
    return stub


# --- Docker ---


def test_engine_ok(engine: StubEngine) -> None:
    assert docker.engine("Docker").status is Finding.OK


def test_engine_unreachable(engine: StubEngine) -> None:
    engine.facts = {}
    assert docker.engine("Docker").status is Finding.BROKEN


def test_engine_too_old(engine: StubEngine) -> None:
    engine.facts["ServerVersion"] = "20.10.24"
    assert "older than 24" in docker.engine("Docker").detail


@pytest.mark.parametrize(
    ("engine_name", "driver", "version", "parent", "finding", "said"),
    [
        ("docker", "systemd", "2", "system.slice", Finding.OK, "sandboxes are in sandbox_platform.slice"),
        ("docker", "cgroupfs", "1", "docker", Finding.OK, "sandboxes are in /sandbox-platform"),
        (
            "docker",
            "cgroupfs",
            "1",
            "customers",
            Finding.WARNING,
            "customers (Docker's cgroup-parent, or another engine)",
        ),
        (
            "direct",
            "cgroupfs",
            "1",
            "customers",
            Finding.OK,
            "customers (Docker's cgroup-parent, or another engine)",
        ),
        ("docker", "systemd", "1", "docker", Finding.WARNING, "the CPU weight of any container"),
        ("docker", "none", "2", "docker", Finding.BROKEN, "no limit"),
    ],
)
def test_cgroups_of_docker(
    engine: StubEngine,
    settings,
    tmp_path: Path,
    engine_name: str,
    driver: str,
    version: str,
    parent: str,
    finding: Finding,
    said: str,
) -> None:
    settings.SANDBOX_ENGINE, settings.SANDBOX_CGROUP_ROOT = engine_name, tmp_path
    engine.facts |= {"CgroupDriver": driver, "CgroupVersion": version}
    name = "a" * 64 if driver == "cgroupfs" else f"docker-{'a' * 64}.scope"
    (tmp_path / ("" if version == "2" else "memory") / parent / name).mkdir(parents=True)
    (tmp_path / ("cgroup.controllers" if version == "2" else "no")).touch()
    found = docker.cgroups("cgroups")
    assert (found.status, f"driver {driver}, cgroup v{version}" in found.detail) == (finding, True)
    assert said in found.detail


def test_runtime_registered(engine: StubEngine) -> None:
    assert docker.runtime_registered("gVisor").status is Finding.OK


def test_runtime_absent(engine: StubEngine) -> None:
    engine.facts["Runtimes"] = {"runc": {}}
    assert docker.runtime_registered("gVisor").status is Finding.BROKEN


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [(["--network=none"], Finding.BROKEN), (["--oci-seccomp"], Finding.WARNING), (None, Finding.BROKEN)],
)
def test_runtime_without_its_arguments(engine: StubEngine, arguments: list[str] | None, finding: Finding) -> None:
    engine.facts["Runtimes"] = {"runsc": {"runtimeArgs": arguments}}
    assert docker.runtime_registered("gVisor").status is finding


EGRESS = ["--network=none", "--oci-seccomp", "--host-uds=open"]


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (EGRESS, Finding.OK),
        (["--network=host", *EGRESS[1:]], Finding.BROKEN),
        (EGRESS[:2], Finding.WARNING),
        (None, Finding.WARNING),
    ],
)
def test_egress_with_these_arguments(engine: StubEngine, arguments: list[str] | None, finding: Finding) -> None:
    engine.facts["Runtimes"] = {"runsc-egress": {"runtimeArgs": arguments}}
    assert docker.egress_registered("egress").status is finding


@pytest.mark.parametrize(("network", "finding"), [("none", Finding.WARNING), ("egress", Finding.BROKEN)])
def test_nobody_behind_the_doors(
    settings, tmp_path: Path, python_runtime: Runtime, network: str, finding: Finding
) -> None:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    Runtime.objects.update(network=network)
    assert service.egress("egress").status is finding


@pytest.mark.parametrize(
    ("answer", "finding"), [("ERR_EGRESS_ADDRESS", Finding.OK), ("HTTP/1.1 200 OK", Finding.BROKEN)]
)
def test_proxy_that_is_asked_for_an_address_inside(
    monkeypatch: pytest.MonkeyPatch, db: None, answer: str, finding: Finding
) -> None:
    monkeypatch.setattr(service.doors, "ask", lambda *_, **__: {"tried": {"private.egress.invalid": answer}})
    assert service.egress("egress").status is finding


@pytest.mark.parametrize(
    ("version", "finding"),
    [
        ("release-20260824.0", Finding.OK),
        ("v0.0.0-20260905035102-160fafc42237", Finding.OK),
        ("release-20260817.0", Finding.WARNING),
        ("0.0~20240729.0", Finding.WARNING),
        ("", Finding.WARNING),
        ("unreleased", Finding.WARNING),
    ],
)
def test_runsc_version_against_the_advisories(engine: StubEngine, version: str, finding: Finding) -> None:
    engine.runsc = version
    assert docker.runsc_version("version").status is finding


def test_old_runsc_names_the_advisories_and_the_fix(engine: StubEngine) -> None:
    engine.runsc = "0.0~20240729.0"
    found = docker.runsc_version("version")
    assert "CVE-2025-2713" in found.detail and "CVE-2026-96812" in found.detail
    assert "make setup" in found.fix


def test_images_present(engine: StubEngine, python_runtime: Runtime) -> None:
    assert docker.images("images").status is Finding.OK


def test_images_missing(engine: StubEngine, python_runtime: Runtime) -> None:
    engine.images = set()
    found = docker.images("images")
    assert found.status is Finding.BROKEN
    assert python_runtime.image in found.detail


def test_images_of_disabled_runtimes_do_not_matter(engine: StubEngine, python_runtime: Runtime) -> None:
    Runtime.objects.create(slug="old", name="Old", image="gone", source_file="x", enabled=False)
    assert docker.images("images").status is Finding.OK


def test_images_without_any_runtime(engine: StubEngine, db: None) -> None:
    assert docker.images("images").status is Finding.BROKEN


def live_build(runtime: Runtime, base_image_id: str) -> RuntimeBuild:
    return RuntimeBuild.objects.create(
        runtime=runtime, number=1, kind="packages", base=runtime.image, state="live",
        base_image_id=base_image_id, image_id="sha256:2", node=django_settings.SANDBOX_NODE,
    )  # fmt: skip


def test_build_of_what_the_image_is_now(engine: StubEngine, python_runtime: Runtime) -> None:
    live_build(python_runtime, "sha256:1")
    assert docker.builds("builds").status is Finding.OK


def test_build_of_an_image_that_was_renewed_since(engine: StubEngine, python_runtime: Runtime) -> None:
    live_build(python_runtime, "sha256:0")
    found = docker.builds("builds")
    assert (found.status, "python" in found.detail) == (Finding.WARNING, True)


def test_build_of_an_image_whose_name_is_gone(engine: StubEngine, python_runtime: Runtime) -> None:
    live_build(python_runtime, "sha256:0")
    engine.images = set()
    assert docker.builds("builds").status is Finding.OK


# --- Database ---


def test_database_reachable(db: None) -> None:
    assert database.reachable("Postgres").status is Finding.OK


def test_database_migrated(db: None) -> None:
    assert database.migrated("migrations").status is Finding.OK


def test_database_behind(db: None) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="executions").delete()
    assert database.migrated("migrations").status is Finding.BROKEN


@pytest.mark.parametrize(
    ("seconds", "finding"), [(0, Finding.OK), (-5, Finding.WARNING), (5, Finding.WARNING), (60, Finding.BROKEN)]
)
def test_clock(db: None, monkeypatch: pytest.MonkeyPatch, seconds: int, finding: Finding) -> None:
    now = database.time.time
    monkeypatch.setattr(database.time, "time", lambda: now() + seconds)
    assert database.clock("clock").status is finding


# --- Service ---


@pytest.fixture
def session(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as session:
        yield session


def test_no_worker(db: None) -> None:
    assert service.workers("workers").status is Finding.BROKEN


def test_worker_alive(session: psycopg.Connection) -> None:
    hold_worker(session, django_settings.SANDBOX_NODE)
    assert service.workers("workers").status is Finding.OK


def test_worker_of_another_node(session: psycopg.Connection) -> None:
    hold_worker(session, "another-node")
    assert service.workers("workers").status is Finding.BROKEN


def test_nobody_delivers_callbacks(db: None) -> None:
    assert service.callbacks("callbacks").status is Finding.WARNING


def test_callbacks_are_delivered(session: psycopg.Connection) -> None:
    hold_callbacks(session)
    assert service.callbacks("callbacks").status is Finding.OK


def test_no_keeper(db: None) -> None:
    assert service.keeper("keeper").status is Finding.BROKEN


def test_keeper_alive(session: psycopg.Connection) -> None:
    hold_keeper(session, django_settings.SANDBOX_NODE)
    assert service.keeper("keeper").status is Finding.OK


def test_queue_empty(db: None) -> None:
    assert service.queue("queue").detail == "empty"


@pytest.mark.parametrize(("age", "finding"), [(1, Finding.OK), (61, Finding.WARNING)])
def test_queue_by_its_oldest(make_execution: Callable[..., Execution], age: int, finding: Finding) -> None:
    make_execution(status=Status.QUEUED, queued_at=timezone.now() - timedelta(seconds=age))
    make_execution(status=Status.QUEUED)
    found = service.queue("queue")
    assert found.status is finding
    assert found.detail.startswith("2 waiting")


@pytest.mark.parametrize(
    ("sandbox", "finding"),
    [
        ({}, Finding.OK),
        ({"state": SandboxState.STARTING}, Finding.WARNING),
        ({"node": "another-node"}, Finding.WARNING),
        ({"runtime_revision": 0}, Finding.WARNING),
        ({"profile_sha256": "of another profile"}, Finding.WARNING),
    ],
)
def test_pool_counts_what_can_be_claimed_here(
    python_runtime: Runtime, sandbox: dict[str, Any], finding: Finding
) -> None:
    fields = {
        "node": django_settings.SANDBOX_NODE,
        "runtime_revision": 1,
        "profile_sha256": hash_rules(None),
        "state": SandboxState.READY,
    }
    Sandbox.objects.create(runtime=python_runtime, image_id="", **fields | sandbox)
    assert service.pool("pool").status is finding


def test_port_of_a_stopped_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ADDRESSES", ("http://127.0.0.1:1",))
    assert service.port("port").status is Finding.BROKEN


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_port_of_a_running_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        answering = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(service, "ADDRESSES", ("http://127.0.0.1:1", answering))
        found = service.port("port")
        server.shutdown()
    assert (found.status, found.detail) == (Finding.OK, f"{answering}/healthz answers")


# --- Host ---


@pytest.mark.parametrize(("gib", "finding"), [(100, Finding.OK), (4, Finding.WARNING), (0.4, Finding.BROKEN)])
def test_disk(engine: StubEngine, monkeypatch: pytest.MonkeyPatch, gib: float, finding: Finding) -> None:
    usage = namedtuple("usage", "free")(int(gib * 1024**3))
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: usage)
    assert host.disk("disk").status is finding


@pytest.mark.parametrize(("is_open", "finding"), [(False, Finding.OK), (True, Finding.WARNING)])
def test_access(settings, is_open: bool, finding: Finding) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = is_open
    assert host.access("access").status is finding


@pytest.mark.parametrize(("debug", "finding"), [(False, Finding.OK), (True, Finding.WARNING)])
def test_debug(settings, debug: bool, finding: Finding) -> None:
    settings.DEBUG = debug
    assert host.debug("debug").status is finding
