"""How an image is called in a registry."""

import threading
from pathlib import Path

import pytest

from sandboxes.engine import ImageMissing
from sandboxes.sources.references import Known, References, reference

REGISTRY = "registry.example:5000/team"
HEX = "a" * 64


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("sandbox-platform/runtime-python:latest", f"{REGISTRY}/runtime-python:latest"),
        ("runtime-python", f"{REGISTRY}/runtime-python"),
        ("others/tool:3", f"{REGISTRY}/others/tool:3"),
        ("ghcr.io/us/tool:3", "ghcr.io/us/tool:3"),
        ("localhost/tool", "localhost/tool"),
        ("host:5000/tool", "host:5000/tool"),
        (f"sandbox-platform/runtime-python:latest@sha256:{HEX}", f"{REGISTRY}/runtime-python@sha256:{HEX}"),
        (f"ghcr.io/us/tool:3@sha256:{HEX}", f"ghcr.io/us/tool@sha256:{HEX}"),
        (f"sha256:{HEX}", f"{REGISTRY}/by-content:{HEX}"),
    ],
)
def test_name_in_the_registry(image: str, name: str) -> None:
    assert reference(image, REGISTRY) == name


@pytest.mark.parametrize("image", ["", "--authfile=x", "a b", "a@sha256:1", "a\nb"])
def test_what_is_no_name_never_reaches_a_command(image: str) -> None:
    with pytest.raises(ImageMissing):
        reference(image, REGISTRY)


def test_name_without_a_registry_needs_the_setting() -> None:
    with pytest.raises(ImageMissing, match="SANDBOX_IMAGE_REGISTRY"):
        reference("sandbox-platform/runtime-python:latest", "")


KNOWN = Known(f"sha256:{HEX}", f"{REGISTRY}/a@sha256:{HEX}", 1.0)


def test_what_is_known_is_found_by_name_and_by_id(tmp_path: Path) -> None:
    References(tmp_path).write("a", KNOWN)
    assert References(tmp_path).of_name("a") == References(tmp_path).of_id(KNOWN.image_id) == KNOWN


def test_name_that_is_forgotten_leaves_its_image_known(tmp_path: Path) -> None:
    references = References(tmp_path)
    references.write("a", KNOWN)
    references.forget("a")
    assert (references.of_name("a"), references.of_id(KNOWN.image_id)) == (None, KNOWN)


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json"])
def test_unreadable_file_counts_as_none(tmp_path: Path, text: str) -> None:
    references = References(tmp_path)
    references.write("a", KNOWN)
    for path in tmp_path.glob("*.json"):
        path.write_text(text)
    assert references.of_name("a") is None


def test_two_processes_do_not_ask_at_the_same_time(tmp_path: Path) -> None:
    references = References(tmp_path)
    with references.asking("a", wait=True) as first, references.asking("a", wait=False) as second:
        assert (first, second) == (True, False)


def test_process_that_waits_asks_after_the_other(tmp_path: Path) -> None:
    references, asked = References(tmp_path), []

    def ask() -> None:
        with references.asking("a", wait=True):
            asked.append("second")

    with references.asking("a", wait=True):
        other = threading.Thread(target=ask)
        other.start()
        asked.append("first")
    other.join(10)
    assert asked == ["first", "second"]
