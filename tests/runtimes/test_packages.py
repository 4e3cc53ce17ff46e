from typing import Any

import pytest
from django.core.exceptions import ValidationError
from rest_framework.exceptions import ValidationError as ApiError

from api.v1 import builds, catalogue_forms
from builds.models import RuntimeBuild
from runtimes import manifests
from runtimes.models import Runtime
from runtimes.packages import complete, name_of, problems, validate_packages

GOOD = {
    "apt": ["jq", "g++", "libstdc++6", "python3.13", "poppler-utils=22.12.0-2+b1", "nodejs=1:20.1~dfsg-1"],
    "pip": [
        "requests",
        "requests==2.32.3",
        "Django>=5.2,<6",
        "uvicorn[standard]~=0.30.0",
        "a==1.*",
        "x==1!2.0+local",
    ],
    "npm": ["lodash", "lodash@^4.17.21", "@types/node@20.1.0", "left-pad@latest", "x@1.0.0-rc.1+b", "lodash.get"],
}
BAD = {
    "apt": ["", "-y", "jq-", "jq;id", "jq id", "jq/sid", "$(id)", "jq\n", "./jq.deb", "Jq", "jq=", "jq=-1"],
    "pip": [
        "", "-r/etc/passwd", "--index-url=x", "./x", "/x", "x/y", "x @ file:///etc", "git+https://x", "x; y",
        "x==", "x==1;a", "x==1 ", "https://x/y.whl", "x\n", "-e.", ".", "x#y", "x==$(id)", "a[b", "é",
    ],
    "npm": [
        "", "-g", "--x", "./x", "../x", "/x", "git+ssh://x", "github:a/b", "a/b", "@a", "@a/", "x@", "x@file:/etc",
        "x@npm:y", "x@https://y", "x@a/b", "X", "x y", "x\n", "x@../y", "x@>=1 <2", '"x"',
    ],
}  # fmt: skip


EACH_GOOD = [(e, p) for e, packages in GOOD.items() for p in packages]
EACH_BAD = [(e, p) for e, packages in BAD.items() for p in packages]
MANIFEST = {"slug": "x", "name": "x", "image": "x", "source_file": "x"}
# Every way in: what one refuses, the others do not take.
DOORS: dict[str, Any] = {
    "manifest": lambda packages: manifests._fields(MANIFEST | {"packages": packages}),
    "runtime": Runtime._meta.get_field("packages").run_validators,
    "build": RuntimeBuild._meta.get_field("packages").run_validators,
    "runtime over the API": lambda p: catalogue_forms.RuntimeForm().fields["packages"].run_validation(p),
    "build over the API": lambda p: builds.BuildForm().fields["packages"].run_validation(p),
}


@pytest.mark.parametrize(("ecosystem", "package"), EACH_GOOD)
def test_package_is_accepted(ecosystem: str, package: str) -> None:
    assert problems({ecosystem: [package]}) == {}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("ecosystem", "package"), EACH_GOOD)
def test_every_way_in_takes_it(door: str, ecosystem: str, package: str) -> None:
    DOORS[door]({ecosystem: [package]})


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("ecosystem", "package"), EACH_BAD)
def test_every_way_in_refuses_it(door: str, ecosystem: str, package: str) -> None:
    with pytest.raises((ValueError, ValidationError, ApiError)):
        DOORS[door]({ecosystem: [package]})


@pytest.mark.parametrize("door", DOORS)
def test_every_way_in_refuses_what_is_there_twice(door: str) -> None:
    with pytest.raises((ValueError, ValidationError, ApiError)):
        DOORS[door]({"pip": ["Requests==1", "requests==2"]})


@pytest.mark.parametrize(("ecosystem", "package"), EACH_BAD)
def test_what_an_installer_could_misread_is_refused(ecosystem: str, package: str) -> None:
    assert set(problems({ecosystem: [package]})) == {ecosystem}


@pytest.mark.parametrize(
    "packages",
    [
        None,
        [],
        "jq",
        {"apt": "jq"},
        {"apt": [1]},
        {"apt": None},
        {"gem": []},
        {"pip": ["x"] * 201},
        {"apt": ["a" * 201]},
    ],
)
def test_what_is_no_list_of_packages_is_refused(packages: object) -> None:
    with pytest.raises(ValidationError):
        validate_packages(packages)


def test_package_is_named_once() -> None:
    assert problems({"pip": ["Requests==1", "requests==2"]}) == {"pip": "requests is listed twice."}


@pytest.mark.parametrize(
    ("ecosystem", "package", "name"),
    [
        ("apt", "jq=1.7", "jq"),
        ("pip", "uvicorn[standard]>=1", "uvicorn"),
        ("npm", "@types/node@20", "@types/node"),
    ],
)
def test_name_is_without_version(ecosystem: str, package: str, name: str) -> None:
    assert name_of(ecosystem, package) == name


def test_ecosystem_that_is_left_out_has_no_packages() -> None:
    assert complete({"pip": ["x"]}) == {"apt": [], "pip": ["x"], "npm": []}
