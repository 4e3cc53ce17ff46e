import subprocess
import uuid
from collections.abc import Iterator
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


def test_images_are_chosen_by_name() -> None:
    assert list(chosen("postgres,runtime-c", "core")) == ["postgres", "runtime-c"]
    with pytest.raises(SetupError, match="cobol"):
        chosen("cobol", "core")


def test_what_pins_inputs_is_listed_with_its_hash() -> None:
    found = pinned_files()
    assert {"requirements.txt", "images/npm.txt", "images/python/packages.txt", "images/egress/Dockerfile"} <= set(
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


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    (tmp_path / "images").mkdir()
    yield Layout(tmp_path / "images")


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
