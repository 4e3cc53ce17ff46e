import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import Client as Browser
from django.urls import reverse

from console import about
from tests.conftest import Visitor
from tests.live import ROOT
from tests.pages import words

PAGE = "admin:about"


def page(browser: Browser) -> str:
    return words(browser.get(reverse(PAGE)).content.decode())


@pytest.fixture
def not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "BROWSER_PACKAGES", tmp_path / "packages.json")


def test_browser_packages_are_listed_as_the_lock_file_has_them(browser: Browser) -> None:
    locked = json.loads((ROOT / "console/frontend/package-lock.json").read_text())["packages"]
    shown = page(browser)
    packages = about.browser_packages()
    assert {"@alpinejs/csp", "@codemirror/view", "@vue/reactivity"} <= {package.name for package in packages}
    for package in packages:
        assert package.version == locked[f"node_modules/{package.name}"]["version"]
        assert f"{package.name} {package.version} {package.license}" in shown


def test_every_browser_package_has_the_text_of_its_licence() -> None:
    for package in about.browser_packages():
        assert "copyright" in package.text.lower(), package.name
        assert "without warranty of any kind" in package.text.lower(), package.name


def test_every_required_python_package_is_listed(browser: Browser) -> None:
    shown = page(browser)
    project = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("\n]")[0]
    required = re.findall(r'^  "([\w-]+)', project, re.MULTILINE)
    assert len(required) > 10
    for name in required:
        found = metadata.metadata(name)
        assert f"{found['Name']} {found['Version']}" in shown


def test_every_python_package_states_a_licence() -> None:
    assert [package.name for package in about.python_packages() if package.license == "not stated"] == []


def test_tools_of_development_are_not_listed() -> None:
    assert not {"pytest", "mypy", "ruff"} & {package.name for package in about.python_packages()}


def test_version_is_shown(browser: Browser) -> None:
    assert f"Sandbox Platform {settings.VERSION}" in page(browser)


def test_menu_has_it_for_every_role(visitor: Visitor) -> None:
    browser = visitor("auditor")
    assert reverse(PAGE) in browser.get(reverse("admin:index")).content.decode()
    assert browser.get(reverse(PAGE)).status_code == 200


def test_others_must_log_in(client: Browser, db: None) -> None:
    assert client.get(reverse(PAGE)).status_code == 302


def test_page_says_what_to_run_when_files_are_missing(visitor: Visitor, not_built: None) -> None:
    assert "Run make frontend ." in page(visitor("auditor"))


def test_check_warns_when_files_are_missing(not_built: None) -> None:
    assert "console.W001" in [message.id for message in run_checks()]


def test_check_is_content_with_built_files() -> None:
    assert "console.W001" not in [message.id for message in run_checks()]
