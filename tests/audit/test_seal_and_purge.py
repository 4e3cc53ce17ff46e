"""The command by which a process beside the keepers seals the history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import Leaf
from executions.models import Execution


def test_it_seals_with_the_key_that_it_makes_first(
    settings: Any, tmp_path: Path, make_execution: Callable[..., Execution]
) -> None:
    settings.SANDBOX_SEAL_KEY_FILE = str(tmp_path / "seal.key")
    execution = make_execution()
    call_command("seal_and_purge")
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
    assert Leaf.objects.filter(row_id=str(execution.pk)).exists()


def test_it_fails_without_a_key_file(settings: Any) -> None:
    settings.SANDBOX_SEAL_KEY_FILE = ""
    with pytest.raises(CommandError, match="SANDBOX_SEAL_KEY_FILE is not set"):
        call_command("seal_and_purge")


@pytest.mark.django_db
def test_it_fails_if_nothing_can_be_sealed(settings: Any, tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    key.write_text("no key")
    key.chmod(0o600)
    settings.SANDBOX_SEAL_KEY_FILE = str(key)
    with pytest.raises(CommandError, match="holds no private key"):
        call_command("seal_and_purge")
