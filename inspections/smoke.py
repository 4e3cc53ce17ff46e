"""Small programs that a runtime must be able to run: what a profile is tried with, and learnt from.

A runtime's own are `[[smoke]]` tables in images/<slug>/runtime.toml; the two that RAGFlow knows have theirs here.
"""

import json
import tomllib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from executions.models import Execution, Status
from executions.tasks import job_of
from executions.verdict import Verdict
from runtimes.models import Limits, Runtime
from sandboxes.protocol import Job
from sandboxes.session import Report


@dataclass(frozen=True)
class Smoke:
    """A program, what it is given, and what comes out where nothing stands in its way."""

    name: str
    code: str
    mode: str = "script"
    stdin: str = ""
    argv: list[str] = field(default_factory=list)
    arguments: Any = None
    files: dict[str, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)

    @property
    def is_pure(self) -> bool:
        """It computes a value from values."""
        return self.mode == "function" and not self.files and "artifacts" not in self.expect

    @property
    def succeeds(self) -> bool:
        return bool(self.expect.get("status", Status.SUCCEEDED) == Status.SUCCEEDED)

    def job(self, runtime: Runtime, limits: Limits) -> Job:
        execution = Execution(
            runtime=runtime,
            endpoint="inspection",
            mode=self.mode,
            code=self.code,
            arguments=json.dumps(self.arguments or {}),
            stdin=self.stdin,
            argv=self.argv,
        )
        files = [{"path": path, "base64": b64encode(text.encode()).decode()} for path, text in self.files.items()]
        return replace(job_of(execution, limits), files=files)

    def complaint(self, report: Report, verdict: Verdict) -> str:
        """What came out differently; "" if nothing did."""
        if verdict.status != Status.SUCCEEDED:
            return verdict.message or f"It ended as {verdict.status}."
        made = {
            "stdout": report.stdout.decode(errors="replace"),
            "result": json.loads(verdict.result) if verdict.result else None,
            "artifacts": sorted(name for name, _ in report.artifacts),
        }
        wrong = [name for name, value in self.expect.items() if name in made and made[name] != value]
        return f"Its {' and '.join(wrong)} came out differently." if wrong else ""


def programs(runtime: Runtime) -> list[Smoke]:
    """Those that end well, of this runtime."""
    found = [Smoke(**table) for table in _of_manifest(runtime.slug)]
    return [program for program in found or OWN.get(runtime.slug, []) if program.succeeds]


def _of_manifest(slug: str) -> Iterator[dict[str, Any]]:
    path = settings.BASE_DIR / "images" / slug / "runtime.toml"
    if path.is_file():
        yield from tomllib.loads(path.read_text(encoding="utf-8")).get("smoke", [])


OWN = {
    "python": [
        Smoke("hello", "print('hello')", expect={"stdout": "hello\n"}),
        Smoke(
            "function",
            "import json, math\n\ndef main(a, b):\n    return {'sum': a + sum(b), 'root': math.isqrt(a)}\n",
            mode="function",
            arguments={"a": 20, "b": [1, 21]},
            expect={"result": {"sum": 42, "root": 4}},
        ),
        Smoke(
            "files",
            "import os\nprint(open('data/in.txt').read(), end='')\nopen('artifacts/out.txt', 'w').write('x')\n",
            files={"data/in.txt": "file content\n"},
            expect={"stdout": "file content\n", "artifacts": ["out.txt"]},
        ),
        Smoke(
            "stdin",
            "import sys\nprint(sys.stdin.read().upper(), sys.argv[1:])\n",
            stdin="line",
            argv=["-a", "b c"],
            expect={"stdout": "LINE ['-a', 'b c']\n"},
        ),
        Smoke(
            "threads",
            "import threading\n\nkept = []\nt = threading.Thread(target=kept.append, args=[1])\n"
            "t.start()\nt.join()\nprint(kept)\n",
            expect={"stdout": "[1]\n"},
        ),
    ],
    "nodejs": [
        Smoke("hello", "console.log('hello')", expect={"stdout": "hello\n"}),
        Smoke(
            "function",
            "function main({ a, b }) {\n"
            "  return { sum: b.reduce((x, y) => x + y, a), root: Math.sqrt(a + 5) };\n}\n",
            mode="function",
            arguments={"a": 20, "b": [1, 21]},
            expect={"result": {"sum": 42, "root": 5}},
        ),
        Smoke(
            "files",
            "const fs = require('fs');\nprocess.stdout.write(fs.readFileSync('data/in.txt', 'utf8'));\n"
            "fs.writeFileSync('artifacts/out.txt', 'x');\n",
            files={"data/in.txt": "file content\n"},
            expect={"stdout": "file content\n", "artifacts": ["out.txt"]},
        ),
        Smoke(
            "stdin",
            "process.stdin.on('data', (d) => console.log(String(d).toUpperCase(), process.argv.slice(2)));\n",
            stdin="line",
            argv=["-a", "b c"],
            expect={"stdout": "LINE [ '-a', 'b c' ]\n"},
        ),
        Smoke(
            "promises",
            "require('fs').promises.readdir('/').then((names) => console.log(names.includes('tmp')));\n",
            expect={"stdout": "true\n"},
        ),
    ],
}
