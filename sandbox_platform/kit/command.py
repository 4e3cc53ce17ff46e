"""Name this process's sessions in Postgres. The audit trail records that name with every change."""

import os
import pwd
from pathlib import Path

LONGEST = 63  # Postgres truncates longer names


def application_name(argv: list[str]) -> str:
    program = Path(argv[0]).name if argv else ""
    # Only the subcommand: arguments may be secret.
    words = [program, *argv[1:2]] if program == "manage.py" else [program]
    return f"sandbox-platform {' '.join(words)} by {_user()}"[:LONGEST]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
