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

_parse_lock = threading.Lock()

Objection = tuple[str, str]


def find(code: str, enabled: Collection[str]) -> Iterator[Violation]:
    try:
        tree = _parse(code)
    # Whatever the parser raises is about the program: SyntaxError, ValueError for a NUL byte or a lone
    # surrogate, RecursionError and MemoryError (often without a text) for its nesting, SystemError for a
    # bug of the parser.
    except Exception as error:
        if "python.syntax" in enabled:
            yield Violation("python.syntax", -1, f"Parsing Error: {str(error) or type(error).__name__}")
        return
    yield from _walk(tree, enabled)


def _parse(code: str) -> ast.Module:
    """Parses with the grammar of the Python that runs the platform, not of the one in the sandbox.

    RAGFlow's service runs 3.11: it refuses newer syntax that we let pass on 3.13 (quotes reused inside an
    f-string, `type X = int`), and 3.11 and 3.12+ word some syntax errors and number lines inside multi-line
    f-strings differently.
    """
    # An invalid escape in the program warns, and with -W error fails. Warning filters belong to the process:
    # without the lock, two threads restoring them crosswise would leave warnings switched off.
    with _parse_lock, warnings.catch_warnings(action="ignore"):
        return ast.parse(code)


def _walk(tree: ast.Module, enabled: Collection[str]) -> list[Violation]:
    """Depth first, a node before its children.

    RAGFlow recurses and runs out of stack at a sum of 330 terms or at 494 `elif`; it calls that a parsing
    error. We keep a stack of our own: such a program passes here.
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
    """Adds what is wrong with the node itself and yields the children for the caller to visit."""
    if not isinstance(node, ast.ListComp | ast.SetComp):
        found.extend(_violations(node, enabled))
        yield from ast.iter_child_nodes(node)
        return
    # RAGFlow visits the generators of these two twice, before the comprehension and after its element, and
    # so reports what they contain twice: 2ⁿ times if n are nested, taking as long. We visit them once and
    # repeat the result.
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
    """Objects to a node whose `field` is a call of a reserved name; of a name only, unlike `_call`."""

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
