import pytest

from runtimes.code_policy import check


def lines(code: str, *disabled: str) -> list[str]:
    return [str(violation) for violation in check(code, "nodejs", disabled)]


REFUSED = [
    ("nodejs.require", "const fs = require('fs')", "Line 1: Require: fs"),
    ("nodejs.require", 'require("child_process")', "Line 1: Require: child_process"),
    ("nodejs.require", "require(`worker_threads`)", "Line 1: Require: worker_threads"),
    ("nodejs.require", "require\n(\n'fs'\n)", "Line 1: Require: fs"),
    ("nodejs.require", "// require('fs')", "Line 1: Require: fs"),
    ("nodejs.require", "myrequire('fs')", "Line 1: Require: fs"),
    ("nodejs.eval", "x = 1;\neval ('2')", "Line 2: Call: eval"),
    ("nodejs.eval", "/* never use eval( */", "Line 1: Call: eval"),
    ("nodejs.eval", "a.eval(b)", "Line 1: Call: eval"),
    ("nodejs.function", "new Function('return 1')", "Line 1: Call: Function"),
    ("nodejs.process-binding", "process . binding ('fs')", "Line 1: Call: process.binding"),
    ("nodejs.process-binding", "globalThis.process\n.binding(x)", "Line 1: Call: process.binding"),
]


@pytest.mark.parametrize(("rule", "code", "line"), REFUSED)
def test_rule_refuses(rule: str, code: str, line: str) -> None:
    [violation] = check(code, "nodejs")
    assert (violation.rule, str(violation)) == (rule, line)


@pytest.mark.parametrize(("rule", "code", "line"), REFUSED)
def test_rule_passes_when_disabled(rule: str, code: str, line: str) -> None:
    assert lines(code, rule) == []


@pytest.mark.parametrize(
    "code",
    [
        "function main(args) { return {ok: true}; }\nmodule.exports = {main};",
        "require('axios')",
        "require('node:child_process')",
        "require('node:fs')",
        "require('fs/promises')",
        "import fs from 'fs'",
        "require('f' + 's')",
        "medieval('x')",
        "evaluate(x)",
        "const f = eval",
        "isFunction(x)",
        "function f() {}",
        "x instanceof Function",
        "process['binding']('fs')",
        "process.bindings(x)",
        "this is not ( JavaScript",
        "",
    ],
)
def test_passes_what_ragflow_lets_pass(code: str) -> None:
    assert lines(code) == []


def test_order_is_pattern_by_pattern_and_then_by_position() -> None:
    code = "process.binding(1)\neval(1)\nrequire('fs')\neval(2)\nrequire('child_process')"
    assert lines(code) == [
        "Line 5: Require: child_process",
        "Line 3: Require: fs",
        "Line 2: Call: eval",
        "Line 4: Call: eval",
        "Line 1: Call: process.binding",
    ]


def test_only_newlines_count_as_lines() -> None:
    assert lines("a\r\nb\rc\u2028eval(d)") == ["Line 2: Call: eval"]
