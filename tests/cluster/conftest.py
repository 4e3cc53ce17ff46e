"""Tests against a real cluster: `make test-cluster`, with KUBECONFIG. `make test` collects none of them."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.release import Caller, Release, cluster_answers

collect_ignore_glob = [] if os.environ.get("SANDBOX_CLUSTER_VALUES") else ["test_*.py"]


# What ends the installation is last.
ORDER = (
    "test_api_server.py",
    "test_registry.py",
    "test_external.py",
    "test_running.py",
    "test_egress.py",
    "test_life.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.name in ORDER]
    ours.sort(key=lambda item: ORDER.index(item.path.name))
    items[:] = [item for item in items if item not in ours] + ours


@pytest.fixture(scope="session")
def cluster() -> None:
    cluster_answers()


@pytest.fixture(scope="session")
def release(cluster: None) -> Iterator[Release]:
    """The chart, installed once with a Postgres of its own. What the pods say is shown if a test fails."""
    installed = Release("trial")
    try:
        installed.make_namespace()
        installed.install()
        yield installed
    finally:
        installed.remove()


@pytest.fixture(scope="session")
def caller(release: Release) -> Caller:
    """A pod from which programs are sent, as RAGFlow would send them."""
    return Caller(release)


@pytest.fixture(autouse=True)
def what_was_there(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    failed: Callable[[], bool] = lambda: bool(getattr(request.node, "failed", False))  # noqa: E731
    if failed() and "release" in request.fixturenames:
        print(request.getfixturevalue("release").told())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().when == "call":  # type: ignore[attr-defined]
        item.failed = outcome.get_result().failed  # type: ignore[attr-defined]
