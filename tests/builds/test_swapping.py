import pytest

from builds import swapping, tasks
from builds.models import BuildState, RuntimeBuild
from builds.record import BuildFailed
from builds.swapping import go_live
from runtimes import manifests
from runtimes.models import Runtime
from sandboxes import pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import EngineError
from sandboxes.models import Sandbox, SandboxState
from tests.builds.conftest import done
from tests.sandboxes.stub_engine import StubEngine

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(node: str, python_runtime: Runtime) -> RuntimeBuild:
    """A good build, beside the one that is live."""
    done(python_runtime, 1, node, state=BuildState.LIVE)
    return done(python_runtime, 2, node, packages={"apt": [], "pip": ["humanize"], "npm": []})


def states(runtime: Runtime) -> dict[int, str]:
    return dict(RuntimeBuild.objects.filter(runtime=runtime).values_list("number", "state"))


def claimable(runtime: Runtime) -> list[Sandbox]:
    ready = Sandbox.objects.filter(state=SandboxState.READY, runtime_revision=runtime.revision)
    return list(ready)


def test_build_becomes_what_runs(engine: StubEngine, second: RuntimeBuild, python_runtime: Runtime) -> None:
    go_live(engine, second)
    before, python_runtime = python_runtime, Runtime.objects.get()
    assert states(python_runtime) == {1: BuildState.READY, 2: BuildState.LIVE}
    assert python_runtime.live_image == second.image_id
    assert python_runtime.packages["pip"] == ["humanize"]
    assert python_runtime.revision == before.revision + 1


def test_as_many_sandboxes_are_warm_as_before(
    engine: StubEngine, second: RuntimeBuild, python_runtime: Runtime
) -> None:
    for _ in range(3):
        pool.start(engine, SandboxConfiguration.of_runtime(python_runtime))
    go_live(engine, second)
    warm = claimable(Runtime.objects.get())
    assert [sandbox.image_id for sandbox in warm] == [f"sha256:{second.image_id}"] * 3


def test_sandboxes_cannot_be_claimed_before_the_swap(
    engine: StubEngine, second: RuntimeBuild, python_runtime: Runtime
) -> None:
    swapping.start_warm(engine, python_runtime, second)
    assert not claimable(python_runtime)


def test_change_of_the_runtime_meanwhile_is_taken_over(
    engine: StubEngine, second: RuntimeBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_warm = swapping.start_warm

    def changed_meanwhile(*arguments: object) -> list[Sandbox]:
        monkeypatch.undo()
        warm = start_warm(*arguments)  # type: ignore[arg-type]
        runtime = Runtime.objects.get()
        runtime.environment = {"NEW": "1"}
        runtime.save()
        return warm

    monkeypatch.setattr(swapping, "start_warm", changed_meanwhile)
    go_live(engine, second)
    runtime = Runtime.objects.get()
    assert (runtime.live_image, runtime.environment) == (second.image_id, {"NEW": "1"})
    assert [engine.here[sandbox.container_id].spec.environment for sandbox in claimable(runtime)] == [{"NEW": "1"}]


def test_image_that_cannot_start_changes_nothing(
    engine: StubEngine, second: RuntimeBuild, python_runtime: Runtime
) -> None:
    engine.missing.add(second.image_id)
    with pytest.raises(EngineError):
        go_live(engine, second)
    assert Runtime.objects.get().revision == python_runtime.revision
    assert states(python_runtime) == {1: BuildState.LIVE, 2: BuildState.READY}


def test_build_of_another_image_does_not_go_live(engine: StubEngine, second: RuntimeBuild) -> None:
    Runtime.objects.update(image="another:1")
    with pytest.raises(BuildFailed, match="another:1"):
        go_live(engine, second)


def test_image_that_was_named_since_runs(engine: StubEngine, second: RuntimeBuild) -> None:
    go_live(engine, second)
    runtime = Runtime.objects.get()
    runtime.image = "another:1"
    assert runtime.live_image == "another:1"
    runtime.save()
    assert states(runtime) == {1: BuildState.READY, 2: BuildState.READY}
    assert (runtime.built_image, runtime.live_image) == ("", "another:1")


def test_runtime_that_is_reset_runs_its_image(engine: StubEngine, second: RuntimeBuild) -> None:
    go_live(engine, second)
    manifest = next(manifest for manifest in manifests.load_all() if manifest.slug == "python")
    manifests.sync([manifest], reset=["python"])
    runtime = Runtime.objects.get()
    assert runtime.live_image == runtime.image
    assert states(runtime) == {1: BuildState.READY, 2: BuildState.READY}


def test_activation_that_fails_says_why(
    engine: StubEngine, second: RuntimeBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "get_engine", lambda: engine)
    engine.away = True
    tasks.activate_build(second.pk)
    second.refresh_from_db()
    assert (second.state, "Not activated" in second.error) == (BuildState.READY, True)
