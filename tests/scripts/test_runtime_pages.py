"""The pages in docs/runtimes: how they are written, and that they agree with the images."""

import platform
import re
import uuid

import pytest
from pytest_django import Settings

from scripts import runtime_pages
from scripts.runtime_pages import FOLDER, describe, render, upstream
from scripts.setup.host import ROOT
from tests.inspections.facts import facts

PYTHON_LINES = render("python", facts()).splitlines()


def comparable(page: str) -> str:
    """The page without the versions of Debian's packages: the images hold those of the day of their build."""
    above, mark, debian = page.partition("\n## Debian packages\n")
    return above + mark + re.sub(r" [^ ,]+(,|\.$)", r"\1", " ".join(debian.split()))


def test_a_page_says_what_made_it() -> None:
    assert PYTHON_LINES[0] == "<!-- Generated from the image by `make runtime-pages`. Do not edit. -->"
    assert "runtime-pages:" in (ROOT / "Makefile").read_text()


def test_a_page_has_facts_environment_and_packages() -> None:
    assert "| Version | Python 3.13.5 |" in PYTHON_LINES
    assert "| `HOME` | `/home/nobody` |" in PYTHON_LINES
    assert "| `numpy` | 2.5.5 |" in PYTHON_LINES
    assert PYTHON_LINES[-1] == "base-files 13.8, login 4.16.0."


def test_a_page_says_nothing_of_the_machine_that_made_it() -> None:
    assert not [line for line in PYTHON_LINES if "48" in line]


def test_a_bar_does_not_end_a_cell() -> None:
    assert r"| `A` | `x\|y` |" in render("python", facts(environment="export A='x|y'\n"))


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("1:2.41-5", "2.41"),
        ("13.8+deb13u8", "13.8"),
        ("1.69~deb13u1", "1.69"),
        ("2026f-0+deb13u1", "2026f"),
        ("4.16.0-2+really2.41.5-1", "4.16.0-2+really2.41.5"),
    ],
)
def test_security_updates_of_debian_change_no_page(version: str, shown: str) -> None:
    assert upstream(version) == shown


def test_every_shipped_runtime_has_a_page_that_the_list_links() -> None:
    listed = (ROOT / "docs" / "runtimes.md").read_text()
    for manifest in ROOT.glob("images/*/runtime.toml"):
        slug = manifest.parent.name
        assert (FOLDER / f"{slug}.md").exists(), f"run `{runtime_pages.COMMAND}`"
        assert f"(runtimes/{slug}.md)" in listed


@pytest.mark.needs_docker
@pytest.mark.skipif(platform.machine() != "x86_64", reason="some Debian packages are named after the processor")
@pytest.mark.parametrize("slug", ["python", "nodejs", "bash", "c"])
def test_the_shipped_page_agrees_with_the_image(slug: str, settings: Settings) -> None:
    # The keeper of a stack on this machine removes inspections of its own node that it does not know.
    settings.SANDBOX_NODE = f"test-{uuid.uuid4().hex[:12]}"
    shipped = (FOLDER / f"{slug}.md").read_text()
    assert comparable(render(slug, describe(slug))) == comparable(shipped), f"run `{runtime_pages.COMMAND}`"
