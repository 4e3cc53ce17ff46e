"""Contrast of text on the colours that mean something, in the light and in the dark."""

import re

import pytest

from tests.live import ROOT

VARIABLES = (ROOT / "console/static/console/console.css").read_text()
EDITOR = (ROOT / "seccomp_profiles/static/seccomp_profiles/editor.css").read_text()
ENOUGH = 4.5  # WCAG 2.2, AA


def colour(scheme: str, name: str) -> str:
    block = re.search(rf"^{re.escape(scheme)} \{{(.*?)^\}}", VARIABLES, re.MULTILINE | re.DOTALL)
    assert block
    found = re.search(rf"--{name}: (#[0-9a-f]{{6}})", block[1])
    assert found
    return found[1]


def luminance(text: str) -> float:
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    channels = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["ok", "warn", "bad"])
@pytest.mark.parametrize("scheme, selector", [(":root", ".verdict"), (".dark", ".dark .verdict")])
def test_verdicts_can_be_read(scheme: str, selector: str, name: str) -> None:
    found = re.search(rf"^{re.escape(selector)} {{[^}}]*\bcolor: (#\w+)", EDITOR, re.MULTILINE)
    assert found
    assert contrast(found[1], colour(scheme, name)) >= ENOUGH
