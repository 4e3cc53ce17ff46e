"""Which images are unpacked ahead, and which a sweep keeps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from executions import unpacked
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandboxes.direct.bundle import Image
from sandboxes.direct.engine import DirectEngine
from sandboxes.direct.images import LAYOUT
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.models import Sandbox
from sandboxes.sources.source import SourceUnavailable
from tests.sandboxes.stub_engine import StubEngine

MakeExecution = Callable[..., Execution]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> StubEngine:
    stub = StubEngine()
    monkeypatch.setattr(unpacked, "get_engine", lambda: stub)
    return stub


@pytest.fixture
def images(settings: Settings, tmp_path: Path) -> Path:
    """The folder, with one image that nothing needs and that was last used long ago."""
    settings.SANDBOX_ENGINE, settings.SANDBOX_IMAGE_DIR, settings.SANDBOX_IMAGE_DISK_BYTES = "direct", tmp_path, 0
    (tmp_path / "unneeded.erofs").write_bytes(b"x")
    return tmp_path


def test_images_in_use_are_needed(
    python_runtime: Runtime, engine: StubEngine, make_execution: MakeExecution, settings: Settings
) -> None:
    fields = {"runtime": python_runtime, "runtime_revision": 1, "profile_sha256": ""}
    Sandbox.objects.create(image_id="sha256:warm", node=settings.SANDBOX_NODE, **fields)
    Sandbox.objects.create(image_id="sha256:elsewhere", node="another", **fields)
    make_execution(status=Status.QUEUED, image_id="sha256:pinned", outcome="", finished_at=None)
    make_execution(image_id="sha256:ended")
    live = f"sha256:{python_runtime.live_image}"
    assert unpacked.needed(engine) == {"sha256:warm", "sha256:pinned", live}


def test_image_of_a_disabled_runtime_is_not_needed(python_runtime: Runtime, engine: StubEngine) -> None:
    Runtime.objects.update(enabled=False)
    assert unpacked.needed(engine) == set()


def test_runtime_without_an_image_stops_no_sweep(
    python_runtime: Runtime, engine: StubEngine, images: Path
) -> None:
    engine.missing.add(python_runtime.live_image)
    unpacked.sweep()
    assert list(images.glob("*.erofs")) == []


def test_nothing_is_removed_while_docker_does_not_answer(
    python_runtime: Runtime, engine: StubEngine, images: Path
) -> None:
    engine.away = True
    with pytest.raises(EngineError):
        unpacked.sweep()
    assert list(images.glob("*.erofs")) != []


def test_node_of_the_docker_engine_sweeps_nothing(images: Path, settings: Settings, db: None) -> None:
    settings.SANDBOX_ENGINE = "docker"
    unpacked.sweep()
    assert list(images.glob("*.erofs")) != []


class Unpacking(DirectEngine):
    """Counts instead of unpacking."""

    def __init__(self, folder: Path) -> None:
        self._place = folder
        self.missing: set[str] = set()
        self.unavailable: set[str] = set()
        self.made: list[str] = []

    def image_id(self, image: str) -> str:
        if image in self.missing:
            raise ImageMissing(image)
        if image in self.unavailable:
            raise SourceUnavailable(image)
        return f"sha256:{image}"

    def unpacked(self, image: str) -> Image:
        self.made.append(image)
        (self._place / f"{image}.json").write_text(json.dumps({"layout": LAYOUT}))
        return Image("", (), {}, ())


@pytest.fixture
def unpacking(images: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Unpacking:
    settings.SANDBOX_IMAGE_DISK_BYTES = 1024
    engine = Unpacking(images)
    monkeypatch.setattr(unpacked, "get_engine", lambda: engine)
    return engine


@pytest.fixture
def two(python_runtime: Runtime) -> None:
    Runtime.objects.update(image="one")
    Runtime.objects.create(slug="two", name="Two", image="two", source_file="f")
    Runtime.objects.create(slug="off", name="Off", image="off", source_file="f", enabled=False)


def test_images_of_enabled_runtimes_are_unpacked_one_at_a_time(two: None, unpacking: Unpacking) -> None:
    for _ in range(4):
        unpacked.prepare()
    assert sorted(unpacking.made) == ["one", "two"]


def test_image_that_is_not_in_docker_is_passed_over(two: None, unpacking: Unpacking) -> None:
    unpacking.missing = {"one"}
    unpacked.prepare()
    assert unpacking.made == ["two"]


def test_image_that_cannot_be_had_now_does_not_stop_the_others(two: None, unpacking: Unpacking) -> None:
    unpacking.unavailable = {"one"}
    unpacked.prepare()
    assert unpacking.made == ["two"]
    with pytest.raises(SourceUnavailable):
        unpacked.prepare()


def test_nothing_is_unpacked_ahead_beyond_the_bound(two: None, unpacking: Unpacking, images: Path) -> None:
    (images / "large.erofs").write_bytes(bytes(1024))
    unpacked.prepare()
    assert unpacking.made == []


def test_docker_engine_unpacks_nothing(two: None, engine: StubEngine, images: Path) -> None:
    unpacked.prepare()
    assert list(images.glob("*.json")) == []
