"""A language added by nothing but a folder: built, synchronised and run, without a line of Python."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from runtimes import smoke
from runtimes.manifests import load
from scripts.setup import images
from tests.live import Platform
from tests.runtimes.test_smoke_live import post

pytestmark = pytest.mark.needs_docker

DOCKERFILE = "FROM sandbox-platform/runtime-bash:latest\nCOPY shout/shout /usr/local/bin/shout\n"
INTERPRETER = '#!/bin/sh\nfile=$1\nshift\necho "$@" | cat "$file" - | tr a-z A-Z\n'
MANIFEST = """
slug = "shout"
name = "Shout"
aliases = ["loud"]
image = "sandbox-platform/runtime-shout:latest"
source_file = "main.txt"
runner = "universal"
run_command = "shout {source}"
[pool]
min = 0
max = 2
[[smoke]]
name = "hello"
code = "hello"
argv = ["world"]
expect = { stdout = "HELLOWORLD\\n" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    language = tmp_path / "images" / "shout"
    language.mkdir(parents=True)
    (language / "Dockerfile").write_text(DOCKERFILE)
    (language / "shout").write_text(INTERPRETER)
    (language / "shout").chmod(0o755)
    (language / "runtime.toml").write_text(MANIFEST)
    monkeypatch.setattr(images, "IMAGES", language.parent)
    yield language
    docker.from_env().images.remove("sandbox-platform/runtime-shout:latest", force=True)


def test_folder_becomes_a_language(platform: Platform, folder: Path) -> None:
    images.build_all(images.runtime_images("shout"))
    platform.manage("sync_runtimes", "--folder", str(folder.parent))
    (program,) = load(folder / "runtime.toml").fields["smoke"]
    try:
        assert smoke.disagreements(program, post(platform, smoke.submission(program, "loud")), []) == []
    finally:
        platform.change_runtime("shout", enabled=False)
