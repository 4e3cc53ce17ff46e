import pytest

pytestmark = pytest.mark.needs_docker


def test_a_program_runs(platform):
    assert platform.run("def main(a): return a", arguments={"a": 1})["result"]["value"] == 1
