"""The templates of others that ours override, and the text that ours were written against."""

import hashlib
import re
from importlib import metadata
from pathlib import Path

import pytest
from django.apps import AppConfig, apps
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from tests.live import ROOT

# SHA-256 of the package's own template. When a test fails here: compare the package's new text with its old one,
# bring our template up to date, then write the new hash here and the new version into the template's comment.
OVERRIDES = {
    "admin/change_form.html": "e9824d4d8a447d9741a1fe4a83180042ac11383bd51678e2b5e40460fa42d86a",
    "admin/change_list.html": "5885c39760f6085d55b2db8e740d4fdc340c402fc7cd43c0b5ef6ae7fb76f421",
    "admin/filter.html": "0c4cab2e0096ba7712d4ed56474be5b757af19016f2a8655da9001907cd2a065",
    "admin/index.html": "9fdb849b7da18ccde0e5dda1923465830718700726570ea70554bffe1f012115",
    "admin/object_history.html": "276be0d3eb1c5eaac8b7129344041e22d7350bc4abcb789db25e912a17a61ae6",
    "drf_spectacular/redoc.html": "973359067e826b4f829d89e6e9c1347c9497d9842129792347c9c23ba04d7816",
    "unfold/helpers/command.html": "ae6ce324d85366131fc82945b3c35c1b980829229508343993e6adcbee4c975d",
    "unfold/helpers/empty_results.html": "5f4727a37a99da76e245048c8c7d7307ded9fe749533b33410e38657a9b1ef7e",
    "unfold/helpers/header_title.html": "b126ed2ab9ca16802d6763f49a74ba37b5bab125e5ff1af52a1ed586982dd0f3",
    "unfold/helpers/welcomemsg.html": "e8eab02522ba2319b937086bbcb6bf2a2bbe1489d236ad90ff23edbe070a7d6b",
    "unfold/layouts/skeleton.html": "66af9f0bb45f98ba4e16ba5e5a11f36d87b8e07430d19066d088b29548491c2e",
}
DISTRIBUTIONS = {"Unfold": "django-unfold", "drf-spectacular": "drf-spectacular"}


def ours(config: AppConfig) -> bool:
    return Path(config.path).parent == ROOT


def files(folder: str) -> dict[str, Path]:
    """Of all our rooms, by the name under which Django finds them."""
    tops = [Path(config.path) / folder for config in apps.get_app_configs() if ours(config)]
    return {path.relative_to(top).as_posix(): path for top in tops for path in top.rglob("*") if path.is_file()}


def upstream(folder: str, name: str) -> Path | None:
    """The file that Django would find without ours."""
    others = (Path(config.path) / folder / name for config in apps.get_app_configs() if not ours(config))
    return next((path for path in others if path.is_file()), None)


@pytest.mark.parametrize("name", OVERRIDES)
def test_upstream_has_the_text_that_ours_was_written_against(name: str) -> None:
    path = upstream("templates", name)
    assert path, f"{name} is gone upstream: nothing uses ours"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == OVERRIDES[name], f"{path} has changed"


def test_every_override_is_in_the_table() -> None:
    assert {name for name in files("templates") if upstream("templates", name)} == set(OVERRIDES)


@pytest.mark.parametrize("name", OVERRIDES)
def test_override_says_for_which_version_it_is(name: str) -> None:
    text = files("templates")[name].read_text()
    found = re.match(r"\{(?:#|% comment %\})\s*(?:Overrides|Replaces) (\S+) (\d+\.\d+)", text)
    assert found, f"{name} does not begin with what it overrides"
    assert metadata.version(DISTRIBUTIONS[found[1]]).startswith(f"{found[2]}.")


def test_no_static_file_hides_one_of_a_package() -> None:
    assert [name for name in files("static") if upstream("static", name)] == []


@pytest.mark.parametrize(("page", "has_link"), [("add", False), ("change", True)])
def test_a_page_that_adds_one_has_no_link_to_itself(browser: Browser, page: str, has_link: bool) -> None:
    of = [Client.objects.create(name="agent").pk] if page == "change" else []
    html = browser.get(reverse(f"admin:clients_client_{page}", args=of)).content.decode()
    assert ('class="addlink' in html) == has_link
