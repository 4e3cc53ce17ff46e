import pytest

from scripts.setup.docker import desired_runtimes, merge_runtimes, same_runtimes
from scripts.setup.host import parse_os_release, parse_version, redact
from scripts.setup.launcher import LAUNCHER

WANTED = desired_runtimes("/usr/bin/runsc")


def test_an_empty_configuration_gets_every_runtime_by_the_launcher() -> None:
    launched = {name: {**runtime, "path": str(LAUNCHER)} for name, runtime in WANTED.items()}
    assert merge_runtimes({}, WANTED) == {"runtimes": launched}


def test_a_registration_of_before_the_launcher_gets_it() -> None:
    before = {"runtimes": WANTED}
    after = merge_runtimes(before, WANTED)
    assert {runtime["path"] for runtime in after["runtimes"].values()} == {str(LAUNCHER)}
    assert not same_runtimes(before, after)


def test_other_settings_and_runtimes_stay() -> None:
    before = {"log-driver": "local", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia"}}}
    after = merge_runtimes(before, WANTED)
    assert after["log-driver"] == "local"
    assert after["runtimes"]["nvidia"] == {"path": "/usr/bin/nvidia"}
    assert after["runtimes"].keys() == {"nvidia", "runsc", "runsc-egress", "runsc-trace"}


def test_a_runsc_elsewhere_keeps_its_path_and_gets_our_flags() -> None:
    before = {"runtimes": {"runsc": {"path": "/opt/runsc", "runtimeArgs": ["--platform=kvm"]}}}
    runsc = merge_runtimes(before, WANTED)["runtimes"]["runsc"]
    assert runsc == {
        "path": "/opt/runsc",
        "runtimeArgs": ["--network=none", "--oci-seccomp", "--platform=kvm"],
    }


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


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", (26, 1, 5)),
        ("Docker Compose version 2.26.1-4", (2, 26, 1)),
        ("Docker Compose version v2.29.7", (2, 29, 7)),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("docker: 'compose' is not a docker command.", ()),
    ],
)
def test_versions_are_found_in_what_tools_print(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_versions_compare_as_numbers() -> None:
    assert parse_version("2.9.0") < (2, 26, 1) < parse_version("10.0")
    assert parse_version("nothing") < (1,)


def test_the_release_is_read_with_and_without_quotes() -> None:
    here = parse_os_release('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    assert (here.distribution, here.version, here.codename) == ("debian", "12", "bookworm")


def test_a_mirrors_password_never_reaches_the_log() -> None:
    assert redact("GET https://user:p4ss@mirror.example/x") == "GET https://***@mirror.example/x"
