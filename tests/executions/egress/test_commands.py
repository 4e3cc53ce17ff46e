from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from executions.egress.links import node_key
from tests.executions.egress import linking
from tests.executions.egress.linking import NODE, OTHER_NODE, SECRET


@pytest.fixture(autouse=True)
def linked(settings: Settings, tmp_path: Path) -> None:
    linking.set_up(settings, tmp_path)


@pytest.mark.parametrize("arguments", [[], [OTHER_NODE]])
def test_the_key_of_a_node_is_all_that_is_printed(arguments: list[str]) -> None:
    out = StringIO()
    call_command("egress_node_key", *arguments, stdout=out)
    assert out.getvalue() == f"{node_key(SECRET, (arguments or [NODE])[0])}\n"


def test_without_a_secret_there_is_no_key(settings: Settings) -> None:
    settings.SANDBOX_EGRESS_NODES_SECRET = ""
    with pytest.raises(CommandError, match="SANDBOX_EGRESS_NODES_SECRET"):
        call_command("egress_node_key")


def test_doors_without_a_key_do_not_start(settings: Settings) -> None:
    settings.SANDBOX_EGRESS_NODE_KEY = ""
    with pytest.raises(CommandError, match="SANDBOX_EGRESS_NODE_KEY: no key of a node"):
        call_command("egress_doors")


def test_a_gateway_for_nodes_without_a_secret_does_not_start(settings: Settings) -> None:
    settings.SANDBOX_EGRESS_NODES_SECRET = ""
    with pytest.raises(CommandError, match="SANDBOX_EGRESS_NODES_SECRET"):
        call_command("egress")
