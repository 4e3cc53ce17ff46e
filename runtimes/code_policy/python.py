import ast
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

from .rules import MAX_VIOLATIONS, Violation

# fmt: off
_MODULES = {
    "os", "subprocess", "sys", "shutil", "socket", "ctypes", "pickle", "threading", "multiprocessing",
    "asyncio", "builtins", "ftplib", "telnetlib",
}
_CALLS = {
    "eval", "exec", "open", "__import__", "compile", "input", "system", "popen", "remove", "rename", "rmdir",
    "chdir", "chmod", "chown", "getattr", "setattr", "globals", "locals", "ctypes",
}
# fmt: on

SYNTAX = "python.syntax"
PARSING_ERROR = "Parsing Error: "
NO_MEMORY = PARSING_ERROR + MemoryError.__name__

_parse_lock = threading.Lock()

Objection = tuple[str, str]


def find(code: str, enabled: Collection[str]) -> Iterator[Violation]:
    try:
        tree = _parse(code)
    # Any exception of the parser is a fault of the program: SyntaxError; ValueError for a NUL byte or a lone
    # surrogate; RecursionError and MemoryError (often without a text) for deep nesting; SystemError for a bug of
    # the parser.
    except Exception as error:
        if SYNTAX in enabled:
            yield Violation(SYNTAX, -1, f"{PARSING_ERROR}{str(error) or type(error).__name__}")
        return
    yield from _walk(tree, enabled)


def _parse(code: str) -> ast.Module:
    """Parse with the grammar of the Python that runs the platform, not of the one in the sandbox.

    RAGFlow's service runs 3.11. It refuses newer syntax that passes here on 3.13 (quotes reused inside an f-string,
    `type X = int`). Some messages of syntax errors, and line numbers inside multi-line f-strings, differ between
    3.11 and 3.12+.
    """
    # An invalid escape in the program causes a warning, and with -W error an exception. Warning filters are global to
    # the process: without the lock, two threads could restore them in the wrong order and leave warnings off.
    with _parse_lock, warnings.catch_warnings(action="ignore"):
        return ast.parse(code.removeprefix("\ufeff"))  # an interpreter skips a byte order mark, too


def _walk(tree: ast.Module, enabled: Collection[str]) -> list[Violation]:
    """Visit the tree depth first, each node before its children, and return the violations.

    RAGFlow recurses, runs out of stack at a sum of 330 terms or at 494 `elif`, and reports a parsing error. This
    function has an explicit stack, so such a program passes.
    """
    found: list[Violation] = []
    stack = [_visit(tree, enabled, found)]
    while stack and len(found) < MAX_VIOLATIONS:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        else:
            stack.append(_visit(child, enabled, found))
    return found


def _visit(node: ast.AST, enabled: Collection[str], found: list[Violation]) -> Iterator[ast.AST]:
    """Add the violations of the node itself to `found`, and yield the children for the caller to visit."""
    if not isinstance(node, ast.ListComp | ast.SetComp):
        found.extend(_violations(node, enabled))
        yield from ast.iter_child_nodes(node)
        return
    # RAGFlow visits the generators of these two nodes twice, before the comprehension and after its element. It
    # therefore reports their violations twice: 2ⁿ times for n nested ones, in as much time. This code visits them once
    # and repeats the result.
    start = len(found)
    yield from node.generators
    end = len(found)
    found.extend(_violations(node, enabled))
    yield node.elt
    found.extend(found[start:end])


def _violations(node: Any, enabled: Collection[str]) -> Iterator[Violation]:
    object_to = _OBJECTIONS.get(type(node))
    if object_to is not None:
        for rule, message in object_to(node):
            if rule in enabled:
                yield Violation(rule, node.lineno, message)


def _import(node: ast.Import) -> Iterator[Objection]:
    for alias in node.names:
        if _top(alias.name) in _MODULES:
            yield "python.import", f"Import: {alias.name}"


def _import_from(node: ast.ImportFrom) -> Iterator[Objection]:
    if node.module and _top(node.module) in _MODULES:
        yield "python.import", f"From Import: {node.module}"


def _call(node: ast.Call) -> Iterator[Objection]:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _CALLS:
            yield "python.call", f"Call: {name}"


def _attribute(node: ast.Attribute) -> Iterator[Objection]:
    if isinstance(node.value, ast.Name) and node.value.id in _MODULES:
        yield "python.attribute", f"Attribute Access: {node.value.id}.{node.attr}"


def _binary_operation(node: ast.BinOp) -> Iterator[Objection]:
    if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
        yield "python.constant-operation", "Possible unsafe string concatenation"


def _function_definition(node: ast.FunctionDef) -> Iterator[Objection]:
    if node.name in _CALLS:
        yield "python.function-definition", f"Function Definition: {node.name}"


def _assignment(node: ast.Assign) -> Iterator[Objection]:
    for target in node.targets:
        if isinstance(target, ast.Name) and target.id in _CALLS:
            yield "python.assignment", f"Assignment to dangerous variable: {target.id}"


def _holding_call(field: str, rule: str, message: str) -> Callable[[ast.AST], Iterator[Objection]]:
    """Return a check for nodes whose `field` calls a reserved name. Unlike `_call`, it ignores attributes."""

    def object_to(node: ast.AST) -> Iterator[Objection]:
        match getattr(node, field):
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                yield rule, message

    return object_to


_dict_key = _holding_call(
    "key", "python.dict-comprehension", "Dict comprehension with dangerous function call in key"
)
_dict_value = _holding_call(
    "value", "python.dict-comprehension", "Dict comprehension with dangerous function call in value"
)


def _dict_comprehension(node: ast.DictComp) -> Iterator[Objection]:
    yield from _dict_key(node)
    yield from _dict_value(node)


def _top(module: str) -> str:
    return module.partition(".")[0]


_OBJECTIONS: dict[type[ast.AST], Callable[[Any], Iterator[Objection]]] = {
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.BinOp: _binary_operation,
    ast.FunctionDef: _function_definition,
    ast.Assign: _assignment,
    ast.Lambda: _holding_call("body", "python.lambda", "Lambda with dangerous function call"),
    ast.ListComp: _holding_call(
        "elt", "python.list-comprehension", "List comprehension with dangerous function call"
    ),
    ast.DictComp: _dict_comprehension,
    ast.SetComp: _holding_call(
        "elt", "python.set-comprehension", "Set comprehension with dangerous function call"
    ),
    ast.Yield: _holding_call("value", "python.yield", "Yield with dangerous function call"),
}
