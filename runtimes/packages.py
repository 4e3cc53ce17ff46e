"""Lists of packages: the syntax that manifests, runtimes and builds may pass to the installer of each ecosystem.

Packages reach an installer in files, never through a shell. The patterns accept nothing that an installer could read
as an option, an address or a path.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

MAX_LENGTH = 200
MAX_PACKAGES = 200
_VERSION = r"[A-Za-z0-9][A-Za-z0-9.!+_-]*(\.\*)?"
_PIP_CLAUSE = rf"(==|>=|<=|~=|!=|<|>){_VERSION}"
_EXTRAS = r"\[[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*\]"
PATTERNS = {
    # apt removes a package whose name ends in "-".
    "apt": re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?"),
    "pip": re.compile(rf"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?({_EXTRAS})?({_PIP_CLAUSE}(,{_PIP_CLAUSE})*)?"),
    "npm": re.compile(r"(@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*(@[~^]?[A-Za-z0-9][A-Za-z0-9.+-]*)?"),
}
EXAMPLES = {"apt": "poppler-utils", "pip": "requests==2.32.3", "npm": "lodash@^4.17.21"}
NAME = {
    "apt": re.compile(r"[^=]+"),
    "pip": re.compile(r"[A-Za-z0-9._-]+"),
    "npm": re.compile(r"@?[^@]+"),
}
ECOSYSTEMS = tuple(PATTERNS)


def name_of(ecosystem: str, package: str) -> str:
    """Return the package's name without version and extras."""
    match = NAME[ecosystem].match(package)
    return match[0] if match else package


def no_packages() -> dict[str, list[str]]:
    return {ecosystem: [] for ecosystem in ECOSYSTEMS}


def problems(packages: Any) -> dict[str, str]:
    """Return the problems by ecosystem; the key "" is for the whole value."""
    if not isinstance(packages, Mapping):
        return {"": 'Must be an object, like {"pip": ["requests==2.32.3"]}.'}
    found = {}
    for ecosystem, wanted in packages.items():
        if problem := _problem(ecosystem, wanted):
            found[str(ecosystem)[:50]] = problem
    return found


def _problem(ecosystem: Any, wanted: Any) -> str | None:
    if ecosystem not in PATTERNS:
        return f"Unknown ecosystem. Known: {', '.join(ECOSYSTEMS)}."
    if not isinstance(wanted, list) or not all(isinstance(package, str) for package in wanted):
        return "Must be a list of strings."
    if len(wanted) > MAX_PACKAGES:
        return f"More than {MAX_PACKAGES} packages."
    for package in wanted:
        if len(package) > MAX_LENGTH or not PATTERNS[ecosystem].fullmatch(package):
            return (
                f"{package[:80]!r} is not a package name, with or without a version. "
                f"Example: {EXAMPLES[ecosystem]}."
            )
    names = [name_of(ecosystem, package).lower() for package in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"{twice[0]} is listed twice."
    return None


def validate_packages(value: Any) -> None:
    if found := problems(value):
        raise ValidationError(
            [f"{ecosystem}: {problem}".removeprefix(": ") for ecosystem, problem in found.items()]
        )


def complete(packages: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the packages with an empty list for each ecosystem that is not named."""
    return no_packages() | dict(packages)
