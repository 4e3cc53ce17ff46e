"""The About page: the platform's version, and third-party packages with their versions and licences."""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from console import first_steps
from console.site import ConsoleSite

# Written by console/frontend/build.mjs.
BROWSER_PACKAGES = Path(__file__).parent / "static" / "vendor" / "packages.json"
REQUIREMENTS = settings.BASE_DIR / "requirements.txt"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    license: str
    text: str = ""


def page(request: HttpRequest, *, site: ConsoleSite) -> HttpResponse:
    return site.page(
        request,
        "console/about.html",
        "About",
        version=settings.VERSION,
        may_begin=first_steps.may_see(request.user),
        browser_packages=browser_packages(),
        python_packages=python_packages(),
    )


def browser_packages() -> list[Package]:
    """Return the packages bundled for the browser, or [] if the files of console/frontend have not been built."""
    if not BROWSER_PACKAGES.is_file():
        return []
    return [Package(**fields) for fields in json.loads(BROWSER_PACKAGES.read_text(encoding="utf-8"))]


@cache
def python_packages() -> list[Package]:
    """Return the installed packages of requirements.txt, which also names packages for other systems."""
    found = []
    for name in re.findall(r"(?m)^([\w.-]+)(?:\[[\w,-]+\])?==", REQUIREMENTS.read_text(encoding="utf-8")):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(Package(about["Name"], about["Version"], license_of(about)))
    return sorted(found, key=lambda package: package.name.lower())


def license_of(about: metadata.PackageMetadata) -> str:
    """Return the licence's name. Packages state it in one of three fields, and `License` may contain the whole text."""
    if "License-Expression" in about:
        return about["License-Expression"]
    prefix = "License :: "
    classifiers = [each for each in about.get_all("Classifier") or [] if each.startswith(prefix)]
    names = [name for each in classifiers if (name := each.rpartition(" :: ")[2]) != "OSI Approved"]
    if names:
        return ", ".join(names)
    stated = (about.get_all("License") or [""])[0]
    return stated.strip().partition("\n")[0] or "not stated"
