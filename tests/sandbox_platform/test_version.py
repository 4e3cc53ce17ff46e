"""The version is said in four places, because each is read where the others are not."""

import re
import tomllib

import pytest
from django.conf import settings

from scripts.setup.host import ROOT
from scripts.setup.hosts.invitation import platform_version


def in_project(path: str) -> str:
    return str(tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]["version"])


def newest_heading() -> str:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"(?m)^## (\d\S+)", text)[0]


@pytest.mark.parametrize(
    "said",
    [
        lambda: in_project("pyproject.toml"),
        lambda: in_project("clients/python/pyproject.toml"),
        newest_heading,
        platform_version,
    ],
    ids=["platform", "client", "changelog", "set-up"],
)
def test_version_is_the_same_everywhere(said) -> None:  # noqa: ANN001
    assert said() == settings.VERSION


def test_a_version_tells_how_to_upgrade_and_what_is_incompatible() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.split(r"(?m)^## (?=\d)", text)[1]
    assert {"What is new", "Incompatible changes"} <= set(re.findall(r"(?m)^### (.+)", newest))
    assert re.search(r"(?m)^### Upgrading from ", newest)
