from pathlib import Path

import pytest

from scripts.setup import registration
from scripts.setup.gvisor import LAUNCHER
from scripts.setup.registration import desired_runtimes, merge_runtimes, same_runtimes

WANTED = desired_runtimes("/usr/bin/runsc")


CURRENT = "release-20990105.0"


def runsc(folder: Path, version: str) -> str:
    folder.mkdir(parents=True)
    path = folder / "runsc"
    path.write_text(f"#!/bin/sh\necho 'runsc version {version}'\n")
    path.chmod(0o755)
    return str(path)


def test_an_empty_configuration_gets_every_runtime() -> None:
    assert merge_runtimes({}, WANTED) == {"runtimes": WANTED}


@pytest.mark.parametrize("path", [str(LAUNCHER), "/nowhere/runsc", ""])
def test_what_is_not_a_current_runsc_is_replaced(path: str) -> None:
    before = {"runtimes": {"runsc": {"path": path}}}
    assert merge_runtimes(before, WANTED)["runtimes"]["runsc"] == WANTED["runsc"]


def test_an_older_release_is_replaced(tmp_path: Path) -> None:
    before = {"runtimes": {"runsc": {"path": runsc(tmp_path / "old", "0.0~20240729.0")}}}
    after = merge_runtimes(before, WANTED)
    assert after["runtimes"]["runsc"]["path"] == "/usr/bin/runsc"
    assert not same_runtimes(before, after)


def test_other_settings_and_runtimes_stay() -> None:
    before = {"log-driver": "local", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia"}}}
    after = merge_runtimes(before, WANTED)
    assert after["log-driver"] == "local"
    assert after["runtimes"]["nvidia"] == {"path": "/usr/bin/nvidia"}
    assert after["runtimes"].keys() == {"nvidia", "runsc", "runsc-egress", "runsc-trace"}


def test_a_current_runsc_elsewhere_keeps_its_path_and_gets_our_flags(tmp_path: Path) -> None:
    path = runsc(tmp_path / "opt", CURRENT)
    before = {"runtimes": {"runsc": {"path": path, "runtimeArgs": ["--platform=kvm"]}}}
    assert merge_runtimes(before, WANTED)["runtimes"]["runsc"] == {
        "path": path,
        "runtimeArgs": ["--network=none", "--oci-seccomp", "--platform=kvm"],
    }


def test_what_make_installed_before_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "FOLDER", tmp_path)
    before = {"runtimes": {"runsc": {"path": runsc(tmp_path / "v1", CURRENT)}}}
    assert merge_runtimes(before, WANTED)["runtimes"]["runsc"]["path"] == "/usr/bin/runsc"


def test_a_networked_runsc_is_made_dark() -> None:
    before = {"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=sandbox"]}}}
    args = merge_runtimes(before, WANTED)["runtimes"]["runsc"]["runtimeArgs"]
    assert args == ["--network=none", "--oci-seccomp"]


@pytest.mark.parametrize("network", ["sandbox", "host"])
def test_egress_of_before_the_doors_loses_its_network(network: str) -> None:
    before = {"runtimes": {"runsc-egress": {"path": "/r", "runtimeArgs": [f"--network={network}"]}}}
    args = merge_runtimes(before, WANTED)["runtimes"]["runsc-egress"]["runtimeArgs"]
    assert args == ["--network=none", "--oci-seccomp", "--host-uds=open"]


def test_only_egress_opens_sockets_of_the_host() -> None:
    opening = [name for name, runtime in WANTED.items() if any("uds" in flag for flag in runtime["runtimeArgs"])]
    assert opening == ["runsc-egress"]


def test_a_second_merge_changes_nothing() -> None:
    before = {"runtimes": {"runsc": {"path": "/opt/runsc", "runtimeArgs": ["--debug", "--oci-seccomp"]}}}
    once = merge_runtimes(before, WANTED)
    assert same_runtimes(once, merge_runtimes(once, WANTED))
    assert not same_runtimes(before, once)
