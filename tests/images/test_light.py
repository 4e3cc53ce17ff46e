"""The runner's JSON is that of the json module, which it does not load."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "images/runner"
sys.path.append(str(RUNNER))
import light  # type: ignore[import-not-found]  # noqa: E402 - not a package of the platform's

sys.path.remove(str(RUNNER))
CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)
VALUES = [
    None, True, 1.5, 10**40, "", 'ä"\n\ud800', [], {}, [1, {"a": (2, [])}], {2: 3, None: 4, True: 5, 1.5: 6},
    [float("inf"), -float("inf"), float("nan")],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_is_written_and_read_as_by_the_json_module(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"))
    assert light.dumps(value) == text
    assert repr(light.loads(text)) == repr(json.loads(text))
    assert repr(light.loads(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("value", [{1, 2}, {(1,): 2}, b"x", CIRCULAR], ids=["set", "key", "bytes", "circular"])
def test_value_without_a_json_form_is_refused_as_by_the_json_module(value: object) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        json.dumps(value)
    with pytest.raises(expected.type) as refused:
        light.dumps(value)
    assert str(refused.value) == str(expected.value)


@pytest.mark.parametrize("text", ["", "[1", '{"a":}', "1 2", '"\n"', "x"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        light.loads(text)


@pytest.mark.parametrize(("error", "raised"), [(KeyError, False), (FileNotFoundError, False), (ValueError, True)])
def test_errors_that_are_named_are_suppressed(error: type[Exception], raised: bool) -> None:
    def run() -> None:
        with light.suppress(KeyError, OSError):
            raise error

    if raised:
        with pytest.raises(error):
            run()
    else:
        run()


@pytest.mark.parametrize("module", ["runner", "universal"])
def test_what_every_sandbox_loads_is_little(module: str) -> None:
    """Each of these takes milliseconds of CPU in gVisor, in every sandbox."""
    heavy = "{'json', 're', 'enum', 'functools', 'collections', 'contextlib', 'signal', 'typing'}"
    program = (
        f"import sys; sys.path.append({str(RUNNER)!r}); "
        f"code = compile(open({str(RUNNER / module)!r} + '.py').read().split('def ')[0], 'x', 'exec'); "
        f"exec(code, {{'__name__': 'x'}}); print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
