import sys

import pytest

from runtimes.code_policy import check


def lines(code: str, *disabled: str) -> list[str]:
    return [str(violation) for violation in check(code, "python", disabled)]


# fmt: off
MODULES = [
    "os", "subprocess", "sys", "shutil", "socket", "ctypes", "pickle", "threading", "multiprocessing",
    "asyncio", "builtins", "ftplib", "telnetlib",
]
CALLS = [
    "eval", "exec", "open", "__import__", "compile", "input", "system", "popen", "remove", "rename", "rmdir",
    "chdir", "chmod", "chown", "getattr", "setattr", "globals", "locals", "ctypes",
]
# fmt: on


@pytest.mark.parametrize("module", MODULES)
def test_import_refuses_module(module: str) -> None:
    assert lines(f"import {module}") == [f"Line 1: Import: {module}"]


@pytest.mark.parametrize("module", MODULES)
def test_attribute_refuses_module(module: str) -> None:
    assert lines(f"{module}.x") == [f"Line 1: Attribute Access: {module}.x"]


@pytest.mark.parametrize("name", CALLS)
def test_call_refuses_name(name: str) -> None:
    assert lines(f"{name}(x)") == [f"Line 1: Call: {name}"]


@pytest.mark.parametrize("name", CALLS)
def test_call_refuses_method_of_any_object(name: str) -> None:
    assert lines(f"anything.{name}(x)") == [f"Line 1: Call: {name}"]


@pytest.mark.parametrize("name", CALLS)
def test_function_definition_refuses_name(name: str) -> None:
    assert lines(f"def {name}(): pass") == [f"Line 1: Function Definition: {name}"]


@pytest.mark.parametrize("name", CALLS)
def test_assignment_refuses_name(name: str) -> None:
    assert lines(f"{name} = 1") == [f"Line 1: Assignment to dangerous variable: {name}"]


REFUSED = [
    ("python.import", "import os.path as p", "Line 1: Import: os.path"),
    ("python.import", "import json, os", "Line 1: Import: os"),
    ("python.import", "from os import path", "Line 1: From Import: os"),
    ("python.import", "from asyncio.events import *", "Line 1: From Import: asyncio.events"),
    ("python.import", "from .sys import x", "Line 1: From Import: sys"),
    ("python.import", "def main():\n    import os", "Line 2: Import: os"),
    ("python.call", "re.compile('a')", "Line 1: Call: compile"),
    ("python.call", "items.remove(1)", "Line 1: Call: remove"),
    ("python.call", "df.rename(columns={})", "Line 1: Call: rename"),
    ("python.call", "f().g[0].open()", "Line 1: Call: open"),
    ("python.call", "ｅｖａｌ(x)", "Line 1: Call: eval"),
    ("python.attribute", "print(sys.argv)", "Line 1: Attribute Access: sys.argv"),
    ("python.attribute", "os.sep = '/'", "Line 1: Attribute Access: os.sep"),
    (
        "python.function-definition",
        "class A:\n    def remove(self): pass",
        "Line 2: Function Definition: remove",
    ),
    ("python.assignment", "a = input = b", "Line 1: Assignment to dangerous variable: input"),
    ("python.constant-operation", "60*60", "Line 1: Possible unsafe string concatenation"),
    ("python.constant-operation", "10**30", "Line 1: Possible unsafe string concatenation"),
    ("python.constant-operation", "'a' + 'b'", "Line 1: Possible unsafe string concatenation"),
    ("python.constant-operation", "x = y + (1 % 2)", "Line 1: Possible unsafe string concatenation"),
    ("python.constant-operation", "None | ...", "Line 1: Possible unsafe string concatenation"),
]


@pytest.mark.parametrize(("rule", "code", "line"), REFUSED)
def test_rule_refuses(rule: str, code: str, line: str) -> None:
    [violation] = check(code, "python")
    assert (violation.rule, str(violation)) == (rule, line)


@pytest.mark.parametrize(("rule", "code", "line"), REFUSED)
def test_rule_passes_when_disabled(rule: str, code: str, line: str) -> None:
    assert lines(code, rule) == []


HOLDING_A_CALL = [
    ("python.lambda", "lambda: eval(x)", "Lambda with dangerous function call"),
    ("python.list-comprehension", "[open(x) for x in y]", "List comprehension with dangerous function call"),
    ("python.set-comprehension", "{open(x) for x in y}", "Set comprehension with dangerous function call"),
    (
        "python.dict-comprehension",
        "{open(x): x for x in y}",
        "Dict comprehension with dangerous function call in key",
    ),
    (
        "python.dict-comprehension",
        "{x: open(x) for x in y}",
        "Dict comprehension with dangerous function call in value",
    ),
    ("python.yield", "def f(): yield exec(x)", "Yield with dangerous function call"),
]


@pytest.mark.parametrize(("rule", "code", "message"), HOLDING_A_CALL)
def test_rule_reports_before_the_call_it_holds(rule: str, code: str, message: str) -> None:
    first, second = check(code, "python")
    assert (first.rule, first.message, second.rule) == (rule, message, "python.call")


@pytest.mark.parametrize(("rule", "code", "message"), HOLDING_A_CALL)
def test_call_is_still_refused_when_the_rule_of_its_holder_is_disabled(rule: str, code: str, message: str) -> None:
    assert [violation.rule for violation in check(code, "python", [rule])] == ["python.call"]


@pytest.mark.parametrize(("rule", "code", "message"), HOLDING_A_CALL)
def test_rule_looks_at_names_only_not_at_methods(rule: str, code: str, message: str) -> None:
    method = code.replace("eval", "a.eval").replace("open", "a.open").replace("exec", "a.exec")
    assert [violation.rule for violation in check(method, "python")] == ["python.call"]


@pytest.mark.parametrize(
    "code",
    [
        "def main(a: int = 1) -> dict:\n    return {'result': a + 1}",
        "import json, math, importlib",
        "import osx, pickle5, posix",
        "import http.client",
        "from http.client import HTTPConnection",
        "from . import os",
        "from json import load as open",
        "import importlib\nimportlib.import_module('o' + str('s'))",
        "import posix\nposix.fork()",
        "f = eval",
        "call = x.eval",
        "evaluate(x)",
        "calls[0](x)",
        "pickle",
        "a.os.path",
        "self.sys.argv",
        "async def eval(): pass",
        "class open: pass",
        "lambda input: input",
        "eval: int = 1",
        "eval += 1",
        "eval, x = 1, 2",
        "(eval := 1)",
        "x.eval = 1",
        "for eval in x: pass",
        "60 * minutes",
        "-1 * x",
        "x + 1 + 2",
        "'a' 'b'",
        "-1 - -1",
        "f'{x}' + 'a'",
        "1 < 2",
        "[str(x) for x in y]",
        "def f(): yield",
        "",
        "# eval(x)",
        "'eval(x)'",
    ],
)
def test_passes_what_ragflow_lets_pass(code: str) -> None:
    assert lines(code) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import os, sys\nos.system(eval(1 + 1))",
            [
                "Line 1: Import: os",
                "Line 1: Import: sys",
                "Line 2: Call: system",
                "Line 2: Attribute Access: os.system",
                "Line 2: Call: eval",
                "Line 2: Possible unsafe string concatenation",
            ],
        ),
        (
            "def eval(x=open(y)):\n    exec(x)\nimport os",
            [
                "Line 1: Function Definition: eval",
                "Line 1: Call: open",
                "Line 2: Call: exec",
                "Line 3: Import: os",
            ],
        ),
        (
            "@open(a)\ndef f():\n    exec(b)",
            ["Line 3: Call: exec", "Line 1: Call: open"],
        ),
        (
            "(eval(a)\n(exec(b)))",
            ["Line 1: Call: eval", "Line 2: Call: exec"],
        ),
    ],
)
def test_order_is_depth_first_with_a_node_before_its_children(code: str, expected: list[str]) -> None:
    assert lines(code) == expected


@pytest.mark.parametrize(("brackets", "kind"), [("[]", "List"), ("{}", "Set")])
def test_generators_of_list_and_set_are_reported_before_and_again_after_the_element(
    brackets: str, kind: str
) -> None:
    code = brackets[0] + "exec(x)\nfor x in open(y)" + brackets[1]
    assert lines(code) == [
        "Line 2: Call: open",
        f"Line 1: {kind} comprehension with dangerous function call",
        "Line 1: Call: exec",
        "Line 2: Call: open",
    ]


@pytest.mark.parametrize("code", ["{1: 2 for x in open(y)}", "(1 for x in open(y))"])
def test_generators_of_dict_and_generator_expression_are_reported_once(code: str) -> None:
    assert lines(code) == ["Line 1: Call: open"]


def test_dict_comprehension_reports_key_and_value() -> None:
    assert lines("{eval(a): exec(b) for a in c}", "python.call") == [
        "Line 1: Dict comprehension with dangerous function call in key",
        "Line 1: Dict comprehension with dangerous function call in value",
    ]


def test_byte_order_mark_is_no_syntax_error() -> None:
    assert check("\ufeffdef main(): return 1", "python") == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 cannot parse it, and so refuses it as RAGFlow does")
def test_syntax_is_that_of_the_python_running_the_platform() -> None:
    assert lines("type X = int") == []
