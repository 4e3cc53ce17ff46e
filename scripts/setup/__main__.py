"""`python3 -m scripts.setup COMMAND`: the commands behind the Makefile.

Uses only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from scripts.setup import (
    apt,
    browser,
    docker,
    envfile,
    frontend,
    helm,
    images,
    prometheus,
    python_env,
    registry,
    stack,
)
from scripts.setup.backups import commands as backups
from scripts.setup.backups import encryption
from scripts.setup.host import SUPPORTED, SetupError, fail, release, say
from scripts.setup.hosts import commands as hosts
from scripts.setup.provision import provide


def check_machine() -> None:
    here = release()
    if (here.distribution, here.version) not in SUPPORTED:
        known = ", ".join(" ".join(pair) for pair in sorted(SUPPORTED))
        say(f"    untested on {here.distribution} {here.version}; tested on {known}")


def setup() -> None:
    started = time.monotonic()
    check_machine()
    provide(envfile.ensure, ensure_python, images.ensure_all)
    stack.start()
    if not envfile.is_joined():
        stack.smoke_test()
    stack.report()
    say(f"Setup finished in {time.monotonic() - started:.0f} s.")


def upgrade() -> None:
    """Back up, then set up: what `git pull` brought is built and started, and migrates the database."""
    if not envfile.is_joined():
        backups.backup()
    setup()


def ensure_python() -> None:
    python_env.ensure_uv()
    python_env.ensure_venv()


def build() -> None:
    provide(images.ensure_all)


def start() -> None:
    docker.ensure_running()
    envfile.ensure()
    stack.start()


def restart() -> None:
    stack.stop()
    start()


def migrate_from_0_1() -> None:
    stack.first_host_only("make migrate-from-0.1")
    docker.ensure_running()
    envfile.ensure()
    images.ensure_all()
    stack.migrate_from_0_1()
    stack.start()
    stack.report()


def prepare_tests() -> None:
    """Install and build everything that the tests need. The tests start and remove their own stack."""
    provide(envfile.ensure, ensure_python, browser.ensure, frontend.ensure, test_tools, images.ensure_all)


def test_tools() -> None:
    prometheus.ensure()
    helm.ensure()
    encryption.ensure()
    registry.ensure()
    apt.install(["buildah", "debsecan", "skopeo", "zsh"])


def logs() -> int:
    return stack.in_front("logs", "--follow", "--tail=100", *os.environ.get("SERVICE", "").split())


COMMANDS: dict[str, Callable[[], int | None]] = {
    "setup": setup,
    "ensure_env": envfile.ensure,
    "ensure_uv": python_env.ensure_uv,
    "ensure_python": ensure_python,
    "ensure_docker": provide,
    "ensure_browser": browser.ensure,
    "ensure_prometheus": prometheus.ensure,
    "ensure_helm": helm.ensure,
    "ensure_frontend": frontend.ensure,
    "build": build,
    "start": start,
    "stop": stack.stop,
    "restart": restart,
    "logs": logs,
    "smoke": stack.smoke_test,
    "migrate_from_0_1": migrate_from_0_1,
    "upgrade": upgrade,
    "backup": backups.backup,
    "restore": backups.restore,
    "invite": hosts.invite,
    "join": hosts.join,
    "drain": hosts.drain,
    "return": hosts.give_back,
    "nodes": hosts.nodes,
    "prepare_tests": prepare_tests,
    "doctor": stack.doctor,
    "clean": stack.clean,
    "lock": python_env.lock,
}


def main() -> int:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in COMMANDS:
        print(f"usage: python3 -m scripts.setup {' | '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[name]() or 0
    except SetupError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130


sys.exit(main())
