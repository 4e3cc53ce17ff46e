"""The examples of docs/python.md run as they stand."""

import re

import pytest

from tests.live import ROOT, TOKEN, Platform

pytestmark = pytest.mark.needs_docker


def test_the_page_s_examples_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SANDBOX_URL", platform.url)
    monkeypatch.setenv("SANDBOX_TOKEN", TOKEN)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)  # noqa: S102
    assert "live\n" in capsys.readouterr().out
    names["sandbox"].close()  # type: ignore[attr-defined]
