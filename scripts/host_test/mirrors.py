"""This machine's package mirrors and certificates, as files of the guest.

Read when the guest is made, and written only into its file system, which is removed with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from scripts.setup import apt, certificates
from scripts.setup.certificates import IN_BUILD_CA

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATES = "/usr/local/share/ca-certificates"
# This machine, as a guest with QEMU's user networking sees it.
HOST = "10.0.2.2"
GO_NAMES = ("GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE")
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def seen_by_guest(text: str) -> str:
    """A mirror or proxy on this machine has another address in the guest."""
    return re.sub(r"(://(?:[^/\s@]+@)?)(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/\s\"]|$)", rf"\g<1>{HOST}", text)


def certificates_of(bundle: str) -> dict[str, str]:
    """Return a file for each certificate, because update-ca-certificates wants one in each."""
    return {f"{CERTIFICATES}/host-{number}.crt": pem for number, pem in enumerate(PEM.findall(bundle))}


def go_settings(text: str, environ: Mapping[str, str]) -> str:
    """Return what Go is told of mirrors by its file and the environment."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    values |= {name: environ[name] for name in GO_NAMES if environ.get(name)}
    return "".join(f"{name}={value}\n" for name, value in values.items() if name in GO_NAMES)


def apt_settings() -> dict[str, str]:
    """Return apt's sources, proxies and passwords. A machine that is no Debian has no sources for one."""
    conf = certificates.apt_conf().replace(IN_BUILD_CA, BUNDLE)
    files = {"/etc/apt/apt.conf.d/90host-test": conf}
    if sources := apt.trixie_sources():
        files["/etc/apt/sources.list.d/debian.sources"] = "\n".join(source.render() for source in sources)
    for path in [Path("/etc/apt/auth.conf"), *Path("/etc/apt/auth.conf.d").glob("*.conf")]:
        if path.is_file():
            files[str(path)] = path.read_text(encoding="utf-8")
    return files


def files() -> dict[str, str]:
    """Return the guest's files by path."""
    built = certificates.build_files()
    home = Path(os.environ.get("HOME", "/root"))
    go = home / ".config/go/env"
    contents = {
        **certificates_of(built["ca"]),
        **apt_settings(),
        "/etc/pip.conf": built["pip_conf"].replace(IN_BUILD_CA, BUNDLE),
        "/root/.npmrc": built["npmrc"].replace(IN_BUILD_CA, BUNDLE),
        "/root/.config/go/env": go_settings(go.read_text(encoding="utf-8") if go.is_file() else "", os.environ),
        "/etc/environment": "".join(f"{name}={value}\n" for name, value in certificates.proxies().items()),
    }
    return {path: seen_by_guest(text) for path, text in contents.items() if text}
