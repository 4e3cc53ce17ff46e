from dataclasses import dataclass

# RAGFlow has no limit: a few nested comprehensions make its list grow exponentially (see python.py).
MAX_VIOLATIONS = 10_000


@dataclass(frozen=True)
class Violation:
    rule: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.message}"


@dataclass(frozen=True)
class Rule:
    slug: str
    language: str
    title: str
    description: str


_ALL = (
    Rule(
        "python.syntax",
        "python",
        "Code that cannot be parsed",
        "Refuses a program with a syntax error, a NUL byte or nesting too deep for the parser. "
        "When disabled, such a program runs and ends with Python's own error message.",
    ),
    Rule(
        "python.import",
        "python",
        "Import of a system module",
        "Refuses import and from … import of os, sys, subprocess, shutil, socket, ctypes, pickle, threading, "
        "multiprocessing, asyncio, builtins, ftplib and telnetlib, and of their submodules.",
    ),
    Rule(
        "python.call",
        "python",
        "Call of a reserved name",
        "Refuses calls of eval, exec, open, compile, input, getattr, globals, remove, rename and the like, "
        "also as a method of any object: re.compile(…), list.remove(…) and df.rename(…) are refused too.",
    ),
    Rule(
        "python.attribute",
        "python",
        "Attribute of a system module",
        "Refuses os.path, sys.argv and any other attribute of a name that python.import refuses, "
        "whether or not the module was imported.",
    ),
    Rule(
        "python.function-definition",
        "python",
        "Function with a reserved name",
        "Refuses a def with a name that python.call refuses, methods included; async def is not checked.",
    ),
    Rule(
        "python.assignment",
        "python",
        "Assignment to a reserved name",
        "Refuses a plain assignment to a name that python.call refuses, such as input = 3; "
        "annotated, augmented and unpacking assignments are not checked.",
    ),
    Rule(
        "python.constant-operation",
        "python",
        "Operation on two constants",
        "Refuses any binary operator between two literals. Meant for 'os.' + 'system', but 60*60, 10**30 and "
        "'-' * 20 are refused as well. Disable this rule first when ordinary programs are refused.",
    ),
    Rule(
        "python.lambda",
        "python",
        "Lambda that calls a reserved name",
        "Refuses lambda: eval(…). python.call reports the call itself separately.",
    ),
    Rule(
        "python.list-comprehension",
        "python",
        "List comprehension that calls a reserved name",
        "Refuses [open(x) for …]. python.call reports the call itself separately.",
    ),
    Rule(
        "python.dict-comprehension",
        "python",
        "Dict comprehension that calls a reserved name",
        "Refuses {k: open(v) for …}, for the key and for the value. python.call reports the call separately.",
    ),
    Rule(
        "python.set-comprehension",
        "python",
        "Set comprehension that calls a reserved name",
        "Refuses {open(x) for …}. python.call reports the call itself separately.",
    ),
    Rule(
        "python.yield",
        "python",
        "Yield of a call of a reserved name",
        "Refuses yield open(…). python.call reports the call itself separately.",
    ),
    Rule(
        "nodejs.require",
        "nodejs",
        "Require of a system module",
        "Refuses require of child_process, fs and worker_threads, in comments and strings too; "
        "names with the node: prefix (node:fs) and import statements are not checked.",
    ),
    Rule(
        "nodejs.eval",
        "nodejs",
        "Call of eval",
        "Refuses the text eval( anywhere, in comments and strings too.",
    ),
    Rule(
        "nodejs.function",
        "nodejs",
        "Call of Function",
        "Refuses the text Function( anywhere, in comments and strings too.",
    ),
    Rule(
        "nodejs.process-binding",
        "nodejs",
        "Call of process.binding",
        "Refuses the text process.binding( anywhere, in comments and strings too.",
    ),
)

RULES: dict[str, Rule] = {rule.slug: rule for rule in _ALL}
