import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from builds import services
from builds.models import BuildKind, BuildState, RuntimeBuild
from runtimes.models import Runtime
from tests.sandboxes.stub_engine import StubEngine


@pytest.fixture
def node(settings: Settings) -> str:
    node = settings.SANDBOX_NODE = f"test-{uuid.uuid4().hex[:12]}"
    return node


@pytest.fixture
def engine() -> Iterator[StubEngine]:
    engine = StubEngine()
    yield engine
    engine.close()


@pytest.fixture
def build(node: str, python_runtime: Runtime) -> RuntimeBuild:
    """Queued."""
    return services.request_build(
        python_runtime, kind=BuildKind.PACKAGES, packages={"pip": ["humanize"]}, by="somebody"
    )


def done(runtime: Runtime, number: int, node: str, **fields: Any) -> RuntimeBuild:
    """A build that ended well."""
    values = {
        "kind": BuildKind.PACKAGES,
        "base": runtime.image,
        "state": BuildState.READY,
        "image_id": f"sha256:{number}",
        "node": node,
    } | fields
    return RuntimeBuild.objects.create(runtime=runtime, number=number, **values)
