"""TypeScript runs on Node.js as tsc would have translated it. Node.js alone refuses some of these programs.

conftest.py collects this file if typescript is among the runtimes whose images are there.
"""

import base64
from typing import Any

import pytest

from sandboxes.engine import Engine
from tests.sandboxes.guest import Seen, guest, job, spec

pytestmark = pytest.mark.needs_docker


def run(engine: Engine, code: str, files: dict[str, str] | None = None, **fields: Any) -> Seen:
    encoded = [
        {"path": path, "base64": base64.b64encode(text.encode()).decode()} for path, text in (files or {}).items()
    ]
    fields = {"mode": "script", "source_file": "main.ts", **fields}
    with guest(engine, spec("typescript")) as it:
        return it.run(job(code, "nodejs", files=encoded, **fields))


OLD_DECORATORS = {"tsconfig.json": '{"compilerOptions": {"experimentalDecorators": true}}'}
WRITES = {
    "enum": ("enum A { X = 1, Y }\nconsole.log(A.Y, A[1]);", {}, "2 X\n"),
    "namespace": ("namespace N { export const a = 1; }\nconsole.log(N.a);", {}, "1\n"),
    "parameter property": ("class A { constructor(private x: number) {}\n  get y() { return this.x; } }\n"
                           "console.log(new A(3).y);", {}, "3\n"),
    "decorator": ("function d(v: any, context: any) { console.log(context.name); }\n@d class A {}", {}, "A\n"),
    "old decorator": ("function d(a: any, name: string, p: PropertyDescriptor) { p.value = () => name; }\n"
                      "class A { @d m() {} }\nconsole.log(new A().m());", OLD_DECORATORS, "m\n"),
    "script": ("console.log(require.main === module, __filename);", {}, "true /workspace/main.ts\n"),
    "module": ("import { EOL } from 'os';\nconst x: number = await Promise.resolve(1);\n"
               "console.log(x + EOL.length, import.meta.main, typeof require);", {}, "2 true undefined\n"),
    "both": ("import { EOL } from 'os';\n"
             "console.log(EOL.length, typeof require('fs').statSync);", {}, "1 function\n"),
    "imports": ("import { f, T } from './words';\nimport { f as g } from './words.js';\n"
                "import data from './data.json';\n"
                "const x: T = f();\nconsole.log(x, f === g, data.a);",
                {"words.ts": "export type T = number;\nexport const f = (): T => 1;", "data.json": '{"a": 2}'},
                "1 true 2\n"),
    "thread": ("import { Worker, isMainThread } from 'node:worker_threads';\nenum A { X = 'x' }\n"
               "if (isMainThread) new Worker(new URL(import.meta.url));\nelse console.log(A.X);", {}, "x\n"),
}  # fmt: skip


@pytest.mark.parametrize("way", WRITES)
def test_program_runs_as_tsc_means_it(engine: Engine, way: str) -> None:
    code, files, stdout = WRITES[way]
    seen = run(engine, code, files)
    assert seen.stdout.decode() == stdout, seen.stderr


@pytest.mark.parametrize(
    "code",
    [
        "export const main = async ({ a }: { a: number }) => a + 1;",
        "function main({ a }: any): number { return a + 1; }",
    ],
)
def test_main_is_found(engine: Engine, code: str) -> None:
    assert run(engine, code, mode="function", arguments='{"a": 1}').result == b"2"


def test_syntax_error_names_file_and_place(engine: Engine) -> None:
    seen = run(engine, "import './lib';", {"lib.ts": "\nconst a: = 3;"})
    assert seen.end is not None
    assert (seen.end.exit_code, seen.stderr) == (1, b"lib.ts: Unexpected token (2:10)\n")


def test_stack_has_the_lines_of_the_source(engine: Engine) -> None:
    seen = run(engine, "interface A {}\n\nfunction f(x: A): never { throw new Error('bad'); }\nf({});")
    assert (b"/workspace/main.ts:3:" in seen.stderr, b"/opt/sandbox" in seen.stderr) == (True, False), seen.stderr


def test_module_that_is_not_found_is_an_error_without_our_frames(engine: Engine) -> None:
    seen = run(engine, "import './nope';")
    assert (b"Cannot find module" in seen.stderr, b"/opt/sandbox" in seen.stderr) == (True, False)
