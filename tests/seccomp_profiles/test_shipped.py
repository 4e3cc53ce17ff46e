import pytest

from sandbox_platform.doctor.live import look
from seccomp_profiles import shipped
from seccomp_profiles.models import SeccompProfile
from seccomp_profiles.validators import validate_profile

# The runner becomes nobody with these, ends what the program left, and starts the program.
NEEDED = {
    "setuid",
    "setgid",
    "setgroups",
    "setresuid",
    "setresgid",
    "kill",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "execve",
}
DEFAULT = shipped.PROFILES["default"][1]


@pytest.mark.parametrize("name", shipped.PROFILES)
def test_shipped_profile_is_valid(name: str) -> None:
    validate_profile(shipped.PROFILES[name][1])


def test_default_profile_lets_the_runner_work() -> None:
    denied = {name for rule in DEFAULT["syscalls"] for name in rule["names"]}
    assert not denied & NEEDED


def test_create_missing_creates_each_once(db: None) -> None:
    assert shipped.create_missing() == ["unconfined", "default"]
    assert shipped.create_missing() == []


def test_create_missing_keeps_an_administrators_rules(db: None) -> None:
    SeccompProfile.objects.create(name="default", rules={"defaultAction": "SCMP_ACT_ALLOW"})
    shipped.create_missing()
    assert SeccompProfile.objects.get(name="default").rules == {"defaultAction": "SCMP_ACT_ALLOW"}


UNSHARE = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); print(libc.unshare(0), ctypes.get_errno())"


@pytest.mark.needs_docker
def test_default_profile_is_enforced(python_runtime) -> None:
    # unshare(0) asks for nothing and succeeds anywhere but under a filter.
    profile = SeccompProfile(rules=DEFAULT)
    assert look("python3", "-c", UNSHARE).output.split() == ["0", "0"]
    assert look("python3", "-c", UNSHARE, seccomp=profile.docker_value).output.split() == ["-1", "1"]
