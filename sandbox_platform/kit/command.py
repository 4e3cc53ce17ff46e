"""How a process is called in Postgres: its sessions' name, which the audit trail keeps of every change."""

import os
import pwd
from pathlib import Path

LONGEST = 63  # Postgres cuts off the rest


def application_name(argv: list[str]) -> str:
    program = Path(argv[0]).name if argv else ""
    # The subcommand only: what follows may be a secret.
    words = [program, *argv[1:2]] if program == "manage.py" else [program]
    return f"sandbox-platform {' '.join(words)} by {_user()}"[:LONGEST]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
