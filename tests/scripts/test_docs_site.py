"""The documentation's site: every page is in its menu, every link leads somewhere, and nothing comes from elsewhere."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live import ROOT

TAKEN = ("docs", "scripts/docs_site.py", "mkdocs.yml", "CHANGELOG.md", "examples")


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / ".venv/bin/mkdocs"), "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_made(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


def test_menu_is_ordered_by_what_a_reader_wants(site: Path) -> None:
    text = (site / "index.html").read_text()
    found = [text.index(f"\n    {title}\n") for title in ("Tutorial", "How to", "Reference", "Explanation")]
    assert found == sorted(found)


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="https?://[^"]*"'
    )
    assert [found for path in site.rglob("*.html") for found in loaded.findall(path.read_text())] == []


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](backup.md#nowhere)"])
def test_a_link_to_nowhere_is_an_error(tmp_path: Path, link: str) -> None:
    for name in TAKEN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        take = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        take(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "tls.md").open("a") as page:
        page.write(f"\n{link}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
