"""Facts about real images, from real sandboxes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inspections import studies, telling
from inspections.models import Inspection
from runtimes.models import MIB, Runner, Runtime
from sandboxes.engine import Engine, EngineError
from seccomp_profiles.models import SeccompRevision
from tests.bare import bare_image
from tests.inspections.conftest import denying, make_runtime

pytestmark = pytest.mark.needs_docker


@pytest.fixture
def describe(engine: Engine, db: None) -> Callable[[Runtime], dict[str, Any]]:
    def make(runtime: Runtime) -> dict[str, Any]:
        inspection = Inspection.objects.create(kind="describe", state="running", runtime=runtime)
        _, details = studies.describe(engine, inspection)
        facts: dict[str, Any] = details["facts"]
        return facts

    return make


@pytest.fixture
def bare(db: None) -> Iterator[Runtime]:
    with bare_image() as image:
        yield Runtime.objects.create(
            slug="bare", image=image, source_file="main.sh", runner=Runner.SHELL, run_command="/bin/sh {source}"
        )


def test_python_says_its_version_and_packages(describe: Any) -> None:
    facts = describe(make_runtime("python"))
    assert facts["version"].startswith("Python 3.")
    assert {"numpy", "pandas"} <= {name for name, _ in facts["packages"]["pip"]}
    assert "python3" in {name for name, _ in facts["packages"]["debian"]}


def test_limits_and_environment_are_those_of_the_row(describe: Any) -> None:
    runtime = make_runtime("bash")
    runtime.memory_bytes, runtime.processes, runtime.open_files = 300 * MIB, 77, 555
    runtime.environment = {"GREETING": "two\nlines"}
    runtime.save()
    facts = describe(runtime)
    assert facts["memory_kib"] == 300 * 1024
    assert (facts["processes"], facts["open_files"]) == ("77", "555")
    assert facts["environment"]["GREETING"] == "two\nlines"


def test_program_is_nobody_and_writes_only_to_memory(describe: Any) -> None:
    facts = describe(make_runtime("bash"))
    assert facts["user"] == {"name": "nobody", "uid": "65534", "gid": "65534"}
    assert (facts["home"], facts["home_is_writable"], facts["folder"]) == ("/home/nobody", True, "/workspace")
    assert facts["written"] == ["/dev/shm", "/home/nobody", "/run/sandbox", "/tmp", "/workspace"]
    assert {path for path, _ in facts["mounts"]} == set(facts["written"])
    assert facts["interfaces"] == ["lo"]


def test_an_image_with_nothing_but_a_shell_is_described(bare: Runtime, describe: Any) -> None:
    facts = describe(bare)
    assert (facts["version"], facts["os"], facts["packages"]) == ("", "", {})
    assert facts["user"] == {"name": "", "uid": "65534", "gid": "65534"}
    assert facts["processes"] == "128"
    assert "/workspace" in facts["written"]
    assert telling.groups(facts)


def test_a_profile_that_refuses_shells_is_named_though_the_facts_come_without_it(
    describe: Any, revision_of: Callable[..., SeccompRevision]
) -> None:
    runtime = make_runtime("python")
    runtime.seccomp_profile = revision_of(denying("execve", "execveat"), "no-exec").profile
    runtime.save()
    facts = describe(runtime)
    assert (facts["profile"], facts["collected_under"]) == ("no-exec", "unconfined")
    assert facts["version"]


def test_an_image_that_is_missing_cannot_be_described(bare: Runtime, describe: Any) -> None:
    bare.image = "sandbox-platform/no-such-image:latest"
    bare.save()
    with pytest.raises(EngineError):
        describe(bare)
