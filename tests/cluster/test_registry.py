"""Images of runtimes from a registry in the cluster, and packages that the builder adds to them."""

from collections.abc import Iterator

import pytest

from tests.builds.test_live import ADMINISTRATOR, BUILT
from tests.builds.test_live import TOKEN as OF_ADMINISTRATOR
from tests.cluster.release import Caller, Object, Release, given_image, run, within
from tests.cluster.supplies import MIRROR_PORT, REGISTRY_PORT, Supplies

VALUES = {
    "runtimes": ["python"],
    "runtimeImages": {"source": "registry", "plainHttp": True, "authSecret": "registry"},
    "builder": {"enabled": True, "pushSecret": "registry", "configSecret": "mirrors"},
    "egress": {"enabled": False},
    "networkPolicy": {"registry": {"ports": [REGISTRY_PORT]}, "mirrors": {"ports": [MIRROR_PORT]}},
}
USES_IT = "import greeting\nprint(greeting.greet())\n"
BUILD_S = 900


@pytest.fixture(scope="module")
def supplied(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart with a builder, and its registry."""
    installed = Release("registry", VALUES)
    try:
        installed.make_namespace()
        supplies = Supplies(installed, *given_image("platform"))
        supplies.push(tmp_path_factory.mktemp("push"), "runtime-python", "fetch")
        installed.change({"runtimeImages": {"registry": supplies.registry}})
        installed.install()
        yield installed
    finally:
        installed.remove()


@pytest.fixture(scope="module")
def its_caller(supplied: Release) -> Caller:
    return Caller(supplied)


@pytest.fixture(scope="module")
def administrator(supplied: Release, its_caller: Caller) -> Caller:
    supplied.exec("web", "python3", "manage.py", "shell", "-c", ADMINISTRATOR)
    return its_caller.with_token(OF_ADMINISTRATOR)


def built(administrator: Caller, packages: list[str]) -> Object:
    path = "/api/v1/runtimes/python/builds"
    asked = administrator.send("POST", path, {"packages": {"pip": packages}})
    assert asked["status"] == 202, asked

    def ended() -> Object | None:
        found: Object = administrator.send("GET", f"{path}/{asked['body']['number']}")["body"]
        return found if found["state"] in BUILT else None

    return within(BUILD_S, ended)


def test_an_agent_runs_images_of_the_registry(its_caller: Caller) -> None:
    ended = run(its_caller, "print(6 * 7)\n")
    assert (ended["status"], ended["stdout"]) == ("succeeded", "42\n"), ended


def test_a_package_is_built_pushed_proven_and_used(its_caller: Caller, administrator: Caller) -> None:
    assert run(its_caller, USES_IT)["status"] == "failed"
    build = built(administrator, ["greeting"])
    assert build["state"] == "live", f"{build['error']}\n{build['log']}"
    ended = run(its_caller, USES_IT)
    assert (ended["status"], ended["stdout"]) == ("succeeded", "hello\n"), ended


def test_a_build_that_fails_changes_nothing(its_caller: Caller, administrator: Caller) -> None:
    build = built(administrator, ["greeting", "no-such-package"])
    assert build["state"] == "failed"
    assert "no-such-package" in build["error"]
    assert run(its_caller, USES_IT)["status"] == "succeeded"


def test_the_doctor_finds_nothing_broken_on_a_node_of_the_registry(supplied: Release) -> None:
    assert supplied.broken() == []
