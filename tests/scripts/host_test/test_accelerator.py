import shutil
from pathlib import Path

import pytest

from scripts.host_test import accelerator
from scripts.setup.host import SetupError

needs_qemu = pytest.mark.skipif(
    not (shutil.which(accelerator.QEMU) and shutil.which("setpriv")), reason="QEMU is not installed"
)
ERRORS = """\
qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]
qemu-system-x86_64: warning: Could not set a clock
KVM internal error. Suberror: 1
emulation failure
EAX=00000000 EBX=01000000
"""


def test_the_line_that_says_what_failed_is_told():
    assert accelerator.why(ERRORS) == "KVM internal error. Suberror: 1"
    assert accelerator.why("EAX=0\n") == ""


@needs_qemu
def test_a_kernel_that_is_none_starts_nowhere(tmp_path: Path):
    """A real QEMU that fails."""
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"no kernel")
    assert accelerator.problem("tcg", kernel, patience_s=20)


@needs_qemu
def test_an_accelerator_that_qemu_does_not_know(tmp_path: Path):
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"no kernel")
    assert "nonsense" in accelerator.problem("nonsense", kernel, patience_s=20)


def test_auto_takes_the_first_that_starts_a_kernel_and_says_why(monkeypatch):
    monkeypatch.setattr(accelerator, "problem", lambda name, kernel: "no MSR" if name == "kvm" else "")
    assert accelerator.choose("auto", Path("vmlinuz")) == ("tcg", "kvm starts no guest: no MSR")


def test_a_named_accelerator_is_not_replaced(monkeypatch):
    monkeypatch.setattr(accelerator, "problem", lambda name, kernel: "no MSR" if name == "kvm" else "")
    with pytest.raises(SetupError, match="kvm starts no guest: no MSR"):
        accelerator.choose("kvm", Path("vmlinuz"))
