"""Versions of runtimes, for formats that ask for one: `3.13.0`, `3.x`, `>=3.10`, `*`."""

import re

from runtimes.models import Runtime

NUMBER = re.compile(r"\d+(?:\.\d+){0,2}")
LONGEST = 100
TERM = re.compile(r"(>=|<=|>|<|=|\^|~)?v?(\d{1,9}|[xX*])(?:\.(\d{1,9}|[xX*]))?(?:\.(\d{1,9}|[xX*]))?")
Version = tuple[int, ...]


def version_of(runtime: Runtime) -> str:
    """Return the version in the runtime's name, in three parts."""
    found = NUMBER.search(runtime.name)
    parts = found[0].split(".") if found else []
    return ".".join((parts + ["0", "0", "0"])[:3])


def fits(version: str, wanted: str) -> bool:
    """Whether the version is one of a range as npm writes it. A range of another form has none."""
    if len(wanted) > LONGEST:
        return False
    have = tuple(int(part) for part in version.split("."))
    return any(_fits_all(have, alternative.split()) for alternative in wanted.split("||"))


def _fits_all(have: Version, terms: list[str]) -> bool:
    return bool(terms) and all(_fits(have, term) for term in terms)


def _fits(have: Version, term: str) -> bool:
    match = TERM.fullmatch(term)
    if match is None:
        return False
    operator, *parts = match.groups()
    given: list[int] = []
    for part in parts:
        if part is None or not part.isdigit():
            break
        given.append(int(part))
    least = tuple(given + [0, 0, 0])[:3]
    same = have[: len(given)] == tuple(given)
    match operator:
        case ">=":
            return have >= least
        case "<=":
            return have <= least or same
        case ">":
            return have > least and not same
        case "<":
            return have < least
        case "^":
            return have >= least and have[:1] == least[:1] if given else True
        case "~":
            return have >= least and have[: min(len(given), 2)] == least[: min(len(given), 2)]
    return same
