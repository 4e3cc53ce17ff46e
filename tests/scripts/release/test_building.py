import subprocess
import uuid
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.release import archive, building
from scripts.release.archive import Layout, Normal
from scripts.release.building import Build, chosen, make, pinned_files
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, SetupError
from scripts.setup.images import BASE, Image

DOCKERFILES = [ROOT / "Dockerfile", *sorted(ROOT.glob("images/*/Dockerfile"))]


def test_release_has_the_stack_s_images_and_the_languages_that_are_built_by_default() -> None:
    names = set(chosen("", "core"))
    assert {"platform", "postgres", "egress", "fetch", "tls", "runtime-python", "runtime-nodejs"} <= names
    assert "runtime-go" not in names
    assert "runtime-go" in chosen("", "go")


def test_release_has_the_images_of_kubernetes_each_behind_what_it_is_made_of() -> None:
    assert chosen("", "core")[:3] == ["platform", "agent", "builder"]


def test_images_are_chosen_by_name() -> None:
    assert chosen("postgres,runtime-c", "core") == ["postgres", "runtime-c"]
    with pytest.raises(SetupError, match="cobol"):
        chosen("cobol", "core")


def test_what_a_chosen_image_is_made_of_is_built_too() -> None:
    assert chosen("tls,builder", "core") == ["tls", "platform", "agent", "builder"]


def test_names_and_tags_of_a_release_are_those_of_make_build() -> None:
    plain = building.images_of_the_base("all")
    assert {name: image.tag for name, image in plain.items()} == {
        name: f"{building.PREFIX}{name}:latest" for name in plain
    }
    tags = [f"{building.PREFIX}{name}:latest" for name in building.MADE_OF]
    assert tags == [building.images.AGENT_TAG, building.images.BUILDER_TAG]


def test_what_pins_inputs_is_listed_with_its_hash() -> None:
    found = pinned_files()
    some = {"requirements.txt", "images/npm.txt", "images/python/packages.txt", "images/egress/Dockerfile"}
    assert some | {"images/agent/Dockerfile", "scripts/setup/runsc/go.mod", "scripts/setup/runsc/go.sum"} <= set(
        found
    )
    assert all(len(digest) == 64 for digest in found.values())


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfiles_leave_no_logs_and_no_caches_with_times(file: Path) -> None:
    """Only the last stage is in the image."""
    last = file.read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    installs = last.count("apt-get install")
    assert last.count("/var/cache/ldconfig/aux-cache") == last.count("find /var/log -type f -delete") == installs


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_compiled_python_does_not_depend_on_the_time_of_its_source(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if "-m compileall" in line:
            assert "--invalidation-mode unchecked-hash" in line


# -- Images of Kubernetes, made of others of the release -----------------------------------------------------


@dataclass
class Builder:
    """Stands for Docker: what was built, what of, and what Docker had at the time."""

    here: list[str] = field(default_factory=list)
    built: dict[str, tuple[Image, str, list[str]]] = field(default_factory=dict)

    def make(self, image: Image, name: str, content: str, layout: Layout, build: Build) -> Normal:
        self.built[name] = (image, build.parent(name), list(self.here))
        return Normal(f"sha256:digest-{name}", f"sha256:{name}", 1, ())

    @contextmanager
    def loaded(self, layout: Layout, tag: str, image: Normal) -> Iterator[None]:
        self.here.append(tag)
        yield
        self.here.remove(tag)


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, layout: Layout, tmp_path: Path) -> Builder:
    """Has built platform, agent and builder, with a runsc of 2026."""
    found = Builder()
    monkeypatch.setattr(building, "make", found.make)
    monkeypatch.setattr(building, "loaded", found.loaded)
    monkeypatch.setattr(building.images.gvisor, "FOLDER", tmp_path)
    runsc = tmp_path / "release-20260907.0/runsc"
    runsc.parent.mkdir()
    runsc.write_text("gVisor")
    base, build = Normal("sha256:b", "sha256:base", 1, ()), Build(1_790_000_000, "base:1", [], {}, "mark")
    building.make_all(["platform", "agent", "builder"], "core", layout, build, base, runsc)
    return found


def test_agent_is_made_of_the_release_s_platform_and_the_builder_of_its_agent(builder: Builder) -> None:
    agent, builders = builder.built["agent"][0], builder.built["builder"][0]
    assert agent.arguments == ("PLATFORM=sha256:platform", "GVISOR=release-20260907.0")
    assert builders.arguments == ("AGENT=sha256:agent",)


def test_docker_has_what_an_image_is_made_of_while_it_is_built(builder: Builder) -> None:
    platform, agent = "sandbox-platform/release-platform:mark", "sandbox-platform/release-agent:mark"
    assert {name: built[1:] for name, built in builder.built.items()} == {
        "platform": ("base:1", []),
        "agent": (platform, [platform]),
        "builder": (agent, [platform, agent]),
    }
    assert builder.here == []


def test_agent_gets_a_copy_of_gvisor_without_the_time_of_its_installation(
    builder: Builder, tmp_path: Path
) -> None:
    ((name, folder),) = builder.built["agent"][0].contexts
    assert (name, tmp_path in folder.parents) == ("gvisor", False)


def test_dockerfile_s_first_image_is_replaced_by_that_of_the_release(
    monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    lines: list[list[str]] = []
    monkeypatch.setattr(building.images, "run_build", lambda line, tag: lines.append(line))
    monkeypatch.setattr(building, "docker", lambda *words: None)
    monkeypatch.setattr(archive, "from_docker", lambda *_: Normal("sha256:1", "sha256:2", 1, ()))
    make(building.images.builder_image("x"), "builder", "", layout, Build(1, "base:1", [], {}, "mark"))
    (line,) = lines
    wanted = "sandbox-platform/agent:latest=docker-image://sandbox-platform/release-agent:mark"
    assert line[line.index("--build-context") + 1] == wanted


@pytest.mark.parametrize(("only", "whole"), [("", True), ("tls", False)])
def test_chart_is_in_a_release_but_not_among_chosen_images(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, only: str, whole: bool
) -> None:
    image = Normal("sha256:1", "sha256:2", 1, ())

    @contextmanager
    def given(*_: object) -> Iterator[list[str]]:
        yield []

    monkeypatch.setattr(building, "make_base", lambda *_: image)
    monkeypatch.setattr(building, "make_all", lambda *_: {"tls": image})
    monkeypatch.setattr(building, "loaded", given)
    monkeypatch.setattr(building.certificates, "build_secrets", given)
    monkeypatch.setattr(building, "sources", lambda snapshot: "")
    monkeypatch.setattr(building, "architecture", lambda: "amd64")
    monkeypatch.setattr(building.runsc, "pinned", lambda: Path(__file__))
    monkeypatch.setattr(building.chart, "package", lambda folder, version, epoch: {"file": "x.tgz"})
    options = Namespace(only=only, runtimes="core", snapshot="", epoch=1, commit="abc")
    found = building.build_all(layout.folder, options)
    assert [bool(found["chart"]), bool(found["gvisor"])] == [whole, whole]
    assert list(found["images"]) == ["tls"]  # type: ignore[call-overload]


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    (tmp_path / "images").mkdir()
    yield Layout(tmp_path / "images")


@pytest.mark.needs_docker
def test_an_image_of_another_one_has_its_files_and_layers(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name in the Dockerfile is that of no image here: what the release has made stands for it."""
    monkeypatch.setitem(building.MADE_OF, "upper", "small")
    name = f"sandbox-platform/nowhere-{uuid.uuid4().hex[:12]}:latest"
    lower = built(tmp_path / "lower", layout)
    folder = tmp_path / "upper"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {name}\nRUN test -s /made/link && touch /made/upper\n")
    image = Image("upper", "upper:1", folder / "Dockerfile", folder, (folder,), made_of=name)
    build = Build(1_790_000_000, BASE, [], {}, uuid.uuid4().hex[:12])
    with building.loaded(layout, build.tag("small"), lower):
        upper = make(image, "upper", "content", layout, build)
    assert [layer.digest for layer in upper.layers[:-1]] == [layer.digest for layer in lower.layers]
    assert "made/upper" in upper.layers[-1].files


def built(folder: Path, layout: Layout, content: str = "same") -> Normal:
    folder.mkdir()
    (folder / "file").write_text(content)
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nARG SOURCE_DATE_EPOCH\nCOPY file /made/\n"
        "RUN useradd --system somebody && ln /made/file /made/link && mkdir /made/b /made/a && touch /made/a/new\n"
    )
    image = Image("small", "small:1", folder / "Dockerfile", folder, (folder,))
    mark = uuid.uuid4().hex[:12]
    try:
        return make(image, "small", "content", layout, Build(1_790_000_000, BASE, [], {"a": "b"}, mark))
    finally:
        # Nothing of it is left in Docker.
        assert docker("image", "inspect", f"sandbox-platform/release-small:{mark}").returncode != 0


@pytest.mark.needs_docker
def test_two_builds_are_one_image_which_docker_loads_by_its_id(tmp_path: Path, layout: Layout) -> None:
    one = built(tmp_path / "one", layout)
    other = built(tmp_path / "other", layout)
    assert one == other
    assert built(tmp_path / "changed", layout, "changed").digest != one.digest
    tag = f"sandbox-platform/release-test:{uuid.uuid4().hex[:12]}"
    with building.loaded(layout, tag, one):
        assert docker("image", "inspect", "--format", "{{.Id}}", tag).stdout.strip() == one.id
        ran = docker("run", "--rm", "--network=none", tag, "cat", "/made/link")
        assert ran.stdout == "same"
    assert docker("image", "inspect", tag).returncode != 0


def test_an_image_that_docker_lacks_is_an_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "command", lambda *words: ["sh", "-c", "echo no such image >&2; exit 1"])
    with pytest.raises(SetupError, match="no such image"):
        archive.from_docker("none:1", layout, 1)


def test_base_names_no_mirror_of_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / "debian.sources").write_text("URIs: http://user:secret@mirror.example/")
    (tmp_path / "etc/apt/sources.list").write_text("deb http://mirror.example/ trixie main")
    subprocess.run(["sh", "-c", building.NO_SOURCES, "sh", tmp_path], check=True)
    left = [path for path in (tmp_path / "etc").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["debian.sources"]
    assert "mirror.example" not in left[0].read_text()
