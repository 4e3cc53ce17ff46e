"""One protection switched off, in the processes of a throw-away platform: `python -m attacks.weakened NAME PROCESS`.

Only attacks.own starts these processes, to show that the corpus catches what the protection prevents. Nothing of this
is in the platform's image or reachable by a setting of it: a weakness replaces functions in the process that is here.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FOLDER = "ATTACK_WEAKENED_FOLDER"  # the variable that names a folder of the throw-away platform's


@dataclass(frozen=True)
class Weakness:
    """`cases`: how the names of the cases begin that must notice it. `shows`: of the complaint by which they do."""

    family: str
    off: str
    cases: tuple[str, ...]
    apply: Callable[[], None]
    shows: str
    engine: str = "direct"


def _replace(module: object, name: str, value: object) -> None:
    setattr(module, name, value)


def _folder(name: str) -> Path:
    found = Path(os.environ[FOLDER]) / name
    found.mkdir(exist_ok=True)
    return found


def _changed_bundle(change: Callable[[dict[str, Any]], None]) -> None:
    """Have each new sandbox of the direct engine started with a changed OCI configuration."""
    from sandboxes.direct import bundle

    config = bundle.config

    def changed(*arguments: Any, **named: Any) -> dict[str, Any]:
        made = config(*arguments, **named)
        change(made)
        return made

    _replace(bundle, "config", changed)


def without_gvisor() -> None:
    from sandboxes import docker_engine

    config = docker_engine.container_config

    def changed(*arguments: Any, **named: Any) -> dict[str, Any]:
        made = config(*arguments, **named)
        made["HostConfig"]["Runtime"] = "runc"
        return made

    _replace(docker_engine, "container_config", changed)


def in_the_hosts_network() -> None:
    from sandboxes.direct import runsc

    flags = [flag for flag in runsc.FLAGS if flag != "--network=none"]
    _replace(runsc, "FLAGS", (*flags, "--network=host"))

    def change(made: dict[str, Any]) -> None:
        made["linux"]["namespaces"] = [each for each in made["linux"]["namespaces"] if each["type"] != "network"]

    _changed_bundle(change)


def with_a_shared_folder() -> None:
    shared = _folder("shared")
    shared.chmod(0o777)  # noqa: S103

    def change(made: dict[str, Any]) -> None:
        (mount,) = (each for each in made["mounts"] if each["destination"] == "/tmp")  # noqa: S108
        mount.update(type="bind", source=str(shared), options=["rbind", "rw"])

    _changed_bundle(change)


def with_outcomes_guessed() -> None:
    """As RAGFlow's executor guesses them: from the number that the program exits with."""
    from executions import tasks
    from executions.models import Outcome, Status
    from executions.verdict import Verdict, decide

    guesses = {124: (Status.TIMED_OUT, Outcome.WALL_TIME), 137: (Status.OUT_OF_MEMORY, Outcome.MEMORY)}

    def guessed(*arguments: Any, **named: Any) -> Verdict:
        found = decide(*arguments, **named)
        status, outcome = guesses.get(found.exit_code or 0, (found.status, found.outcome))
        return replace(found, status=status, outcome=outcome)

    _replace(tasks, "decide", guessed)


def without_a_memory_limit() -> None:
    def change(made: dict[str, Any]) -> None:
        # Not without any: the machine of whoever runs this has other work.
        memory = made["linux"]["resources"]["memory"]
        made["linux"]["resources"]["memory"] = {name: 3 * value for name, value in memory.items()}

    _changed_bundle(change)


def with_files_shown() -> None:
    from django.http import HttpResponse

    from api.v1 import artifacts

    def shown(name: str, content: bytes, content_type: str = "") -> HttpResponse:
        return HttpResponse(content, content_type="text/html" if name.endswith("html") else content_type)

    _replace(artifacts, "as_attachment", shown)


def with_any_text_stored() -> None:
    from executions import services

    def unchanged(text: str) -> str:
        return text

    _replace(services, "db_text", unchanged)


WEAKNESSES = {
    "escapes": Weakness(
        "escapes", "gVisor: sandboxes are started by runc",
        ("read /proc/sys/kernel/random/boot_id", "read /proc/version"),
        without_gvisor, "printed the host's", engine="docker",
    ),
    "reaching": Weakness(
        "reaching", "no network: sandboxes share the host's", ("TCP to the host's loopback", "bash: /dev/tcp"),
        in_the_hosts_network, "trap",
    ),
    "contamination": Weakness(
        "contamination", "a /tmp of its own: all sandboxes share a folder of the host",
        ("a file in /tmp/", "a neighbour that runs at the same time: its files"), with_a_shared_folder,
        "a trace of the first",
    ),
    "runner": Weakness(
        "runner", "outcomes from facts of the host: they are guessed from the exit status",
        ("a forged exit status 124", "a forged exit status 137"), with_outcomes_guessed, "outcome is",
    ),
    "resources": Weakness(
        "resources", "the memory limit: the kernel's is three times the run's",
        ("memory: the program's own", "memory: files in /dev/shm"), without_a_memory_limit,
        "the kernel's memory limit",
    ),
    "artifacts": Weakness(
        "artifacts", "files as attachments: a browser shows them",
        ("content that a browser would run: HTML with a script",), with_files_shown,
        "not sent as an attachment",
    ),
    "parsers": Weakness(
        "parsers", "the replacement of what Postgres cannot hold", ("output: zero bytes",), with_any_text_stored,
        "platform_error",
    ),
}  # fmt: skip


def main() -> None:
    name, process = sys.argv[1:]
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    django.setup()
    WEAKNESSES[name].apply()
    if process == "web":
        from gunicorn.app.wsgiapp import run

        sys.argv = ["gunicorn", "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--preload"]
        run()
    else:
        from django.core.management import call_command

        call_command(process)


if __name__ == "__main__":
    main()
