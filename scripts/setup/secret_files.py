"""The secrets of .env as files, one each, that Compose mounts into the services that need them.

A variable of a container's environment is shown by `docker inspect`, and inherited by every process in it.
"""

from __future__ import annotations

import secrets
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.setup.host import ROOT, SetupError

FOLDER = ROOT / ".secrets"
# The stack's own Postgres: each service brings its role and password.
SHIPPED_URL = "postgresql://sandbox@postgres:5432/sandbox"
# File -> variable in .env.
VARIABLES = {
    "database_url": "DATABASE_URL",
    "database_owner": "POSTGRES_PASSWORD",
    "database_web": "SANDBOX_DATABASE_WEB_PASSWORD",
    "database_worker": "SANDBOX_DATABASE_WORKER_PASSWORD",
    "database_keeper": "SANDBOX_DATABASE_KEEPER_PASSWORD",
    "database_callbacks": "SANDBOX_DATABASE_CALLBACKS_PASSWORD",
    "database_egress": "SANDBOX_DATABASE_EGRESS_PASSWORD",
    "django_secret_key": "DJANGO_SECRET_KEY",
    "callback_key": "SANDBOX_CALLBACK_KEY",
    "admin_password": "ADMIN_PASSWORD",
    "api_token": "SANDBOX_EXECUTOR_MANAGER_API_TOKEN",
    "metrics_token": "SANDBOX_METRICS_TOKEN",
    "otlp_headers": "OTEL_EXPORTER_OTLP_HEADERS",
    "email_password": "EMAIL_HOST_PASSWORD",
    "oidc_client_secret": "SANDBOX_OIDC_CLIENT_SECRET",
}
DEFAULTS = {"DATABASE_URL": SHIPPED_URL}
# File -> variable in .env that names a file of the host: copied, because Caddy's user cannot read the original.
COPIED = {"tls_certificate": "SANDBOX_TLS_CERTIFICATE", "tls_key": "SANDBOX_TLS_KEY"}
# Certificate of the authority of the first host's Postgres, which is one line in .env of a host that joined it.
CA, CA_VARIABLE = "database_ca", "SANDBOX_DATABASE_CA"
# Files that two services share and the operator need not know: made once, and kept.
SHARED = ("egress",)


def write(settings: Mapping[str, str], folder: Path = FOLDER) -> list[str]:
    """Write the files, and return the names of those of SHARED that were made.

    Only the folder's owner gets at them; a container's user must be able to read its own.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    missing = [name for name in SHARED if not (folder / name).is_file()]
    for name, value in [*_of(settings), *((name, secrets.token_urlsafe(32)) for name in missing)]:
        path = folder / name
        # In place: a running container has the file mounted, not the folder.
        if not path.exists() or path.read_text(encoding="utf-8") != value:
            path.touch(mode=0o600)
            path.write_text(value, encoding="utf-8")
        path.chmod(0o444)
    return missing


def _of(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, variable in VARIABLES.items():
        yield name, settings.get(variable) or DEFAULTS.get(variable, "")
    for name, variable in COPIED.items():
        yield name, _content(variable, settings.get(variable, ""))
    if authority := settings.get(CA_VARIABLE):
        lines = "\n".join(textwrap.wrap(authority, 64))
        yield CA, f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="ascii") if path else ""
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{variable}={path}", f"cannot be read: {error}", f"correct {variable} in .env, then make restart"
        ) from error
