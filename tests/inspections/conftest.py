import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pytest_django import Settings

from inspections.laboratory import KIND
from inspections.models import Inspection
from runtimes.manifests import load
from runtimes.models import Runtime
from sandbox_platform.settings import BASE_DIR
from sandboxes.docker_engine import get_engine
from sandboxes.engine import Engine
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompRevision

SLUGS = ("python", "nodejs")
# Each smoke program of a runtime costs a sandbox for each inspection. These compile, read, write, start a thread and
# fail.
FEW = ("hello", "function", "files", "threads", "error")
WALL_TIME_MS = 60_000


@pytest.fixture
def node(settings: Settings) -> Iterator[str]:
    """A name of its own, under which nothing is left in Docker."""
    settings.SANDBOX_NODE = f"test-{uuid.uuid4().hex[:12]}"
    yield settings.SANDBOX_NODE
    assert get_engine().containers(kind=KIND) == []


@pytest.fixture
def engine(node: str) -> Engine:
    return get_engine()


@pytest.fixture(params=SLUGS)
def runtime(db: None, request: pytest.FixtureRequest) -> Runtime:
    """Both languages, one after the other."""
    return make_runtime(request.param)


def make_runtime(slug: str, programs: Sequence[str] = FEW) -> Runtime:
    """As its manifest says, with these of its smoke programs."""
    runtime = make_whole_runtime(slug)
    runtime.smoke = [program for program in runtime.smoke if program["name"] in programs]
    runtime.save()
    return runtime


def make_whole_runtime(slug: str) -> Runtime:
    """As its manifest says, with all of its smoke programs, and with the time that they take on a busy machine."""
    fields = load(BASE_DIR / "images" / slug / "runtime.toml").fields
    return Runtime.objects.create(**fields | {"wall_time_ms": WALL_TIME_MS})


def denying(*names: str, action: str = "SCMP_ACT_ERRNO") -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": action}]}


@pytest.fixture
def revision_of(db: None) -> Callable[..., SeccompRevision]:
    def make(rules: dict[str, Any] | None, name: str = "tried") -> SeccompRevision:
        return revisions.create_profile(name, rules).current

    return make


@pytest.fixture
def inspection(db: None) -> Inspection:
    return Inspection.objects.create(kind="probe", state="running")
