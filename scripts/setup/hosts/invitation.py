"""The file with which another host joins: where the database is, and what its worker, keeper and egress need."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scripts.setup.host import ROOT, SetupError

FORMAT = "sandbox-platform invitation 1"
# The roles that a joined host gets. The owner of the tables, web and callbacks stay on the first host.
ROLES = ("WORKER", "KEEPER", "EGRESS")
DATABASE = "sandbox"
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
# Settings that must be the same on all hosts: what worker, keeper and egress decide with. No secret is among them.
SHARED = (
    "SANDBOX_DATABASE_ROLE_PREFIX", "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", "SANDBOX_TIMEOUT", "SANDBOX_MAX_MEMORY",
    "SANDBOX_RUNTIMES", "SANDBOX_BASE_PYTHON_IMAGE", "SANDBOX_BASE_NODEJS_IMAGE", "SANDBOX_QUEUE_TIMEOUT",
    "SANDBOX_MAX_PROGRAM", "SANDBOX_MAX_ARGUMENTS", "SANDBOX_MAX_VALUES", "SANDBOX_CLIENT_STORAGE",
    "SANDBOX_POLICY_MEMORY", "SANDBOX_CONSOLE_URL", "SANDBOX_ALERT_DAYS", "SANDBOX_SEAL_FINGERPRINT",
    "SANDBOX_CALLBACK_NETWORKS", "SANDBOX_CALLBACK_PER_HOST", "SANDBOX_CALLBACK_PENDING", "SANDBOX_EGRESS_BYTES",
    "SANDBOX_EGRESS_REQUESTS", "SANDBOX_EGRESS_NETWORKS", "SANDBOX_EGRESS_DNS", "SANDBOX_BUILD_TIMEOUT",
    "SANDBOX_KEEP_BUILDS", "SANDBOX_BUILD_HOSTS",
)  # fmt: skip


@dataclass(frozen=True)
class Invitation:
    """`ca`: PEM. `passwords`: by ROLES. `settings`: those of SHARED that .env has. `node`: name of who joins, or ""."""

    version: str
    invited_by: str
    address: str
    port: int
    ca: str
    passwords: dict[str, str] = field(repr=False)
    settings: dict[str, str]
    node: str = ""

    @property
    def ca_line(self) -> str:
        """The certificate in Base64, in one line."""
        return "".join(self.ca.split("-----")[2].split())

    @property
    def database_url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        trust = "sslmode=verify-full&sslrootcert=/run/secrets/database_ca"
        return f"postgresql://{host}:{self.port}/{DATABASE}?{trust}"


def platform_version(root: Path = ROOT) -> str:
    text = (root / "sandbox_platform/settings.py").read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "([^"]+)"', text, re.MULTILINE)
    return found[1] if found else ""


def shared(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: settings[name] for name in SHARED if name in settings}


def write(path: Path, invitation: Invitation) -> None:
    """Write a new file that only its owner reads. Raises FileExistsError."""
    text = json.dumps({"format": FORMAT, **asdict(invitation)}, indent=1) + "\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


def read(path: Path) -> Invitation:
    """Read an invitation of this version of the platform. Raises SetupError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(content, dict) or content.pop("format", "") != FORMAT:
        raise _unreadable(path, f"it does not begin as a file of the format {FORMAT!r} does")
    try:
        invitation = Invitation(**content)
        if wrong := _wrong(invitation):
            raise _unreadable(path, wrong)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _unreadable(path, f"a part is missing or wrong: {error}") from error
    if invitation.version != platform_version():
        raise SetupError(
            "version",
            f"the first host runs {invitation.version or 'an unknown version'}, this checkout is {platform_version()}",
            "check out the first host's version here, or upgrade it and run make invite there again",
        )
    return invitation


def _wrong(invitation: Invitation) -> str:
    """Return what is wrong, or "". Raises TypeError, KeyError and AttributeError for parts of another kind."""
    single = [(name, getattr(invitation, name)) for name in ("version", "invited_by", "address", "node")]
    texts = [*single, *invitation.passwords.items(), *invitation.settings.items()]
    if strange := [name for name, text in texts if not isinstance(text, str) or not text.isprintable()]:
        return f"a value is no line of text: {', '.join(map(repr, strange))}"
    if strange := sorted(invitation.settings.keys() - {*SHARED}):
        return f"it sets what an invitation does not set: {', '.join(map(repr, strange))}"
    if type(invitation.port) is not int or not 0 < invitation.port < 65536 or not invitation.address:
        return "address or port is missing"
    if not all(invitation.passwords[role] for role in ROLES):
        return "a password is empty"
    if "BEGIN CERTIFICATE" not in invitation.ca or len(invitation.ca.split("-----")) < 4:
        return "the certificate of the authority is missing"
    return "" if BASE64.fullmatch(invitation.ca_line) else "the certificate of the authority is damaged"


def _unreadable(path: Path, cause: str) -> SetupError:
    return SetupError(
        f"FROM={path}", cause, "copy the file again, or make another with make invite on the first host"
    )
