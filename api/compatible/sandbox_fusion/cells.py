"""The program that runs cells of a notebook one after another. It runs in a sandbox, with nothing but Python.

Each cell's output is apart. As in a notebook, the value of a last line that is an expression is shown. The cells after
a failed one run, as SandboxFusion's do: callers look for the result of each cell.
"""

import ast
import contextlib
import io
import traceback
from typing import Any


class Texts(io.StringIO):
    """A stream with the attributes that programs ask a real one for."""

    encoding = "utf-8"

    def fileno(self) -> int:
        return 1

    def close(self) -> None:
        """Stay open: a cell that closes it is not the last one."""


def run(source: str, number: int, names: dict[str, Any]) -> dict[str, Any]:
    """Run one cell. Return what it said, in the fields of the format."""
    out, err = Texts(), Texts()
    display: list[Any] = []
    errors: list[Any] = []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            tree = ast.parse(source, f"<cell {number}>")
            last = None
            if tree.body and isinstance(tree.body[-1], ast.Expr):
                last = ast.Expression(tree.body[-1].value)
                del tree.body[-1]
            exec(compile(tree, f"<cell {number}>", "exec"), names)  # noqa: S102
            value = eval(compile(last, f"<cell {number}>", "eval"), names) if last else None  # noqa: S307
            if value is not None:
                names["_"] = value
                display.append({"text/plain": repr(value)})
        except BaseException as e:
            # The first frame is this one.
            inner = e.__traceback__.tb_next if e.__traceback__ else None
            # It also has a text for an exception whose own `__str__` fails.
            told = traceback.TracebackException(type(e), e, inner)
            errors.append({"ename": type(e).__name__, "evalue": str(told), "traceback": list(told.format())})
    return {"stdout": out.getvalue(), "stderr": err.getvalue(), "display": display, "error": errors}


def main(cells: list[str]) -> list[dict[str, Any]]:
    names: dict[str, Any] = {"__name__": "__main__"}
    return [run(source, number, names) for number, source in enumerate(cells, 1)]
