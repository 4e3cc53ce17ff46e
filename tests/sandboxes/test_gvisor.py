from datetime import date
from pathlib import Path

import pytest

from sandboxes.gvisor import ADVISORIES, FILTERS, is_current, module_version, open_advisories, released, version_of


def script(folder: Path, prints: str) -> Path:
    path = folder / "runsc"
    path.write_text(f"#!/bin/sh\nprintf '{prints}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("prints", "version"),
    [
        ("runsc version release-20260824.0\\nspec: 1.2.1\\n", "release-20260824.0"),
        ("runsc version 0.0~20240729.0\\nspec: 1.0.2-dev\\n", "0.0~20240729.0"),
        ("runsc version v0.0.0-20260905035102-160fafc42237\\n", "v0.0.0-20260905035102-160fafc42237"),
        ("runsc version release-20260817.0-70-g3c5eee17d\\n", "release-20260817.0-70-g3c5eee17d"),
        ("runsc version VERSION_MISSING\\n", "VERSION_MISSING"),
        ("usage: runsc\\n", ""),
    ],
)
def test_version_is_what_the_binary_says(tmp_path: Path, prints: str, version: str) -> None:
    assert version_of(script(tmp_path, prints)) == version


def test_version_of_a_plain_build_of_the_module_is_the_modules(tmp_path: Path) -> None:
    runsc = script(tmp_path, "runsc version VERSION_MISSING\\n")
    # As `go version -m` finds it in a binary.
    recorded = (
        "mod\tgvisor.dev/gvisor\tv0.0.0-20260905035102-160fafc42237\th1:AU5+CtCvnBnxdZRNcZt1\ndep\tgolang.org/x"
    )
    runsc.write_text(runsc.read_text() + f"exit\n\0path\tgvisor.dev/gvisor/runsc\n{recorded}\n")
    assert version_of(runsc) == "v0.0.0-20260905035102-160fafc42237"


@pytest.mark.parametrize("runsc", sorted(Path("/usr/local/lib/sandbox-platform/gvisor").glob("v0*/runsc")))
def test_build_of_make_says_what_it_records_and_that_it_has_its_filters(runsc: Path) -> None:
    assert version_of(runsc) == module_version(runsc) + FILTERS == runsc.parent.name


def test_nothing_has_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "runsc") == ""


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("release-20260824.0", date(2026, 8, 24)),
        ("0.0~20240729.0", date(2024, 7, 29)),
        ("v0.0.0-20260905035102-160fafc42237", date(2026, 9, 5)),
        ("release-20269999.0", None),
        ("VERSION_MISSING", None),
        ("", None),
    ],
)
def test_date_of_a_version(version: str, day: date | None) -> None:
    assert released(version) == day


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("0.0~20240729.0", ["CVE-2025-2713", "CVE-2026-96812"]),
        ("release-20250311.0", ["CVE-2025-2713", "CVE-2026-96812"]),
        ("release-20250319.0", ["CVE-2026-96812"]),
        ("release-20260817.0", ["CVE-2026-96812"]),
        ("release-20260824.0", []),
        ("v0.0.0-20260905035102-160fafc42237", []),
        ("VERSION_MISSING", ["CVE-2025-2713", "CVE-2026-96812"]),
    ],
)
def test_advisories_that_a_version_is_not_fixed_for(version: str, names: list[str]) -> None:
    assert [advisory.name for advisory in open_advisories(version)] == names
    assert is_current(version) is not bool(names)


def test_no_version_is_not_current() -> None:
    assert not is_current("")


def test_every_advisory_has_a_source() -> None:
    assert all(advisory.source.startswith("https://") for advisory in ADVISORIES)
