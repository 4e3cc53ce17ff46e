"""The guest's file system: Debian 13 with systemd, made without mounting an image."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from scripts.host_test import mirrors
from scripts.setup.host import ROOT, SetupError, must

PACKAGES = (
    "systemd", "systemd-sysv", "systemd-resolved", "dbus", "udev", "kmod", "linux-image-cloud-amd64",
    "openssh-server", "ca-certificates", "iproute2", "procps", "python3", "make", "git",
)  # fmt: skip
CLONE = "/root/sandbox-platform"
BYTES = "40G"  # sparse
MAKE_S = 3 * 3600.0
NETWORK = "[Match]\nType=ether\nKind=!*\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n"
OWN_FILES = {
    "/etc/hostname": "host-test\n",
    "/etc/hosts": "127.0.0.1 localhost host-test\n",
    "/etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "/etc/systemd/network/10-user.network": NETWORK,
    # Compiled modules are kept, as on any host; a slow line of the console is not waited for.
    "/etc/ssh/sshd_config.d/host-test.conf": "PermitRootLogin prohibit-password\nUseDNS no\nLoginGraceTime 0\n",
}
FIX = "make host-test as root, with room for 10 GB; the full output is in .setup/setup.log"


def make(folder: Path, public_key: str, hand_over: Callable[[Path], None]) -> None:
    """Make disk.raw, vmlinuz and initrd.img in the folder."""
    root = folder / "root"
    try:
        bootstrap(root)
        for path, text in {**OWN_FILES, "/root/.ssh/authorized_keys": public_key, **mirrors.files()}.items():
            write(root, path, text)
        must(["chroot", root, "update-ca-certificates"], check="certificates of the guest", fix=FIX)
        services = ("systemd-networkd", "systemd-resolved", "ssh")
        must(["systemctl", "--root", root, "enable", *services], check="services of the guest", fix=FIX)
        link = root / "etc/resolv.conf"
        link.unlink(missing_ok=True)
        link.symlink_to("/run/systemd/resolve/stub-resolv.conf")
        clone(root)
        hand_over(root)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile((root / name).resolve(), folder / name)
        must(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, folder / "disk.raw", BYTES],
            check="the guest's disk", fix=FIX, timeout=MAKE_S,
        )  # fmt: skip
    finally:
        shutil.rmtree(root, ignore_errors=True)


def bootstrap(root: Path) -> None:
    files = mirrors.apt_settings()
    sources = root.parent / "debian.sources"
    listed = files.get("/etc/apt/sources.list.d/debian.sources", "")
    sources.write_text(listed, encoding="utf-8")
    line: list[str | Path] = [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        "--aptopt=Apt::Install-Recommends false", "--dpkgopt=force-unsafe-io",
        "trixie", root,
    ]  # fmt: skip
    must(line + ([sources] if listed else []), check="Debian 13 by mmdebstrap", fix=FIX, timeout=MAKE_S)
    for path in (root / "etc/apt/sources.list.d").glob("0000*"):
        path.unlink()


def write(root: Path, path: str, text: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    # They may contain passwords of mirrors; certificates and names are for everybody.
    private = path.startswith("/root/") or "auth.conf" in path
    target.chmod(0o600 if private else 0o644)


def clone(root: Path) -> None:
    """Clone the commit that is checked out, without what lies beside it."""
    source = must(["git", "rev-parse", "--git-common-dir"], check="the repository", fix="git clone").strip()
    target, wanted = root / CLONE.lstrip("/"), commit()
    # Not by copying its files, which breaks if somebody commits or git packs meanwhile.
    must(
        ["git", "clone", "--quiet", "--no-local", "--no-checkout", (ROOT / source).resolve(), target],
        check="a clone of the repository", fix=FIX,
    )  # fmt: skip
    must(["git", "-C", target, "checkout", "--quiet", "--detach", wanted], check="the commit", fix=FIX)
    must(["git", "-C", target, "remote", "remove", "origin"], check="the clone's remote", fix=FIX)


def commit() -> str:
    return must(["git", "rev-parse", "HEAD"], check="the repository", fix="git clone").strip()


def missing_tools() -> list[str]:
    """Return the packages that this machine lacks."""
    tools = {
        "qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs",
        "ssh": "openssh-client", "ssh-keygen": "openssh-client", "setpriv": "util-linux", "git": "git",
    }  # fmt: skip
    return sorted({package for tool, package in tools.items() if not shutil.which(tool)})


def refuse_without_kernel(folder: Path) -> None:
    for name in ("disk.raw", "vmlinuz", "initrd.img", "key"):
        if not (folder / name).is_file():
            raise SetupError(f"the guest in {folder}", f"{name} is missing", f"rm -r {folder}")
