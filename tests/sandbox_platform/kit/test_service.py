import os
import subprocess
import sys

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand, SystemCheckError
from pytest_django import Settings

from tests.live import ROOT

COMMANDS = {
    "worker": "executions",
    "keeper": "sandbox_platform",
    "callbacks": "executions.callbacks",
    "egress": "executions.egress",
}
# In a process of its own: here the pages are loaded already.
STARTS = """
import sys, django
django.setup()
from django.core.management import load_command_class
from sandbox_platform.kit import tasks
command = load_command_class(*sys.argv[1:])
command.check(tags=command.requires_system_checks)
assert "sandbox_platform.urls" not in sys.modules
assert "runtimes.admin" not in sys.modules
known = {task.name for task in tasks.declared()}
import sandbox_platform.urls
assert "runtimes.admin" in sys.modules
assert {task.name for task in tasks.declared()} == known, known
"""


def start(name: str, script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    command = [sys.executable, "-c", script, COMMANDS[name], name]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_service_knows_every_task_without_the_pages() -> None:
    done = start("worker", STARTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_service_says_which_of_its_settings_is_wrong(name: str, settings: Settings) -> None:
    settings.LONGEST_RUN_S = 1
    command: BaseCommand = load_command_class(COMMANDS[name], name)
    with pytest.raises(SystemCheckError, match="SANDBOX_TIMEOUT is above"):
        command.check(tags=command.requires_system_checks)


@pytest.mark.parametrize("name", COMMANDS)
def test_service_warns_of_an_open_platform(
    name: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    command: BaseCommand = load_command_class(COMMANDS[name], name)
    command.check(tags=command.requires_system_checks)
    assert "Anybody can run programs" in capsys.readouterr().err
