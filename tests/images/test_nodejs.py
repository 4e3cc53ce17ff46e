"""A Node.js program runs here as `node main.js` runs it anywhere: a test for each thing that it can notice."""

import base64
import json
from typing import Any

import pytest

from sandboxes.engine import Engine
from tests.sandboxes.guest import Seen, guest, job, spec

pytestmark = pytest.mark.needs_docker


def run(engine: Engine, code: str, files: dict[str, str] | None = None, **fields: Any) -> Seen:
    encoded = [
        {"path": path, "base64": base64.b64encode(text.encode()).decode()} for path, text in (files or {}).items()
    ]
    with guest(engine, spec("nodejs")) as it:
        return it.run(job(code, "nodejs", files=encoded, **fields))


def script(engine: Engine, code: str, files: dict[str, str] | None = None, **fields: Any) -> Seen:
    return run(engine, code, files, mode="script", **fields)


# -- the main program ---------------------------------------------------------------------------------------

COMMONJS = """#!/usr/bin/env node
console.log(JSON.stringify({
  main: require.main === module, id: module.id, file: __filename, paths: module.paths,
  cache: Object.keys(require.cache), argv: process.argv,
  argv0: process.argv0, execArgv: process.execArgv, title: process.title,
  preloaded: process._preload_modules, listeners: process.listenerCount('exit'), cwd: process.cwd(),
  secret: Object.keys(process.env).filter((name) => name.startsWith('SANDBOX')),
}));
"""


@pytest.fixture(scope="module")
def commonjs(engine: Engine) -> dict[str, Any]:
    seen = script(engine, COMMONJS, argv=["-a", "b c"])
    return json.loads(seen.stdout)  # type: ignore[no-any-return]


def test_script_is_the_main_module(commonjs: dict[str, Any]) -> None:
    assert (commonjs["main"], commonjs["id"], commonjs["file"]) == (True, ".", "/workspace/main.js")


def test_script_looks_for_packages_where_node_does(commonjs: dict[str, Any]) -> None:
    assert commonjs["paths"] == ["/workspace/node_modules", "/node_modules"]


def test_script_has_the_arguments_of_a_shell(commonjs: dict[str, Any]) -> None:
    assert commonjs["argv"] == ["/usr/local/bin/node", "/workspace/main.js", "-a", "b c"]


def test_nothing_of_the_worker_is_in_the_process(commonjs: dict[str, Any]) -> None:
    left = {name: commonjs[name] for name in ("execArgv", "preloaded", "listeners", "secret", "cache")}
    expected = {"execArgv": [], "preloaded": [], "listeners": 0, "secret": [], "cache": ["/workspace/main.js"]}
    assert left == expected


def test_process_has_its_own_name(commonjs: dict[str, Any]) -> None:
    assert (commonjs["argv0"], commonjs["title"], commonjs["cwd"]) == ("node", "node", "/workspace")


ES_MODULE = """
import { readFileSync } from 'node:fs';
import data from './data.json' with { type: 'json' };
import word from './lib/word.mjs';
const later = await Promise.resolve(5);
console.log(import.meta.url, import.meta.main, typeof readFileSync, data.a, word, later);
"""


@pytest.mark.parametrize(
    ("source_file", "files"),
    [("main.js", {}), ("main.js", {"package.json": '{"type": "module"}'}), ("app.mjs", {})],
    ids=["syntax", "package.json", "suffix"],
)
def test_es_modules_run_as_such(engine: Engine, source_file: str, files: dict[str, str]) -> None:
    files = {**files, "data.json": '{"a": 1}', "lib/word.mjs": "export default 'w';"}
    seen = script(engine, ES_MODULE, files, source_file=source_file)
    assert seen.stdout.decode() == f"file:///workspace/{source_file} true function 1 w 5\n", seen.stderr


def test_top_level_await_needs_no_import(engine: Engine) -> None:
    assert script(engine, "const x = await Promise.resolve(5);\nconsole.log(x);").stdout == b"5\n"


def test_package_json_of_the_job_decides(engine: Engine) -> None:
    seen = script(engine, "import 'fs';", {"package.json": '{"type": "commonjs"}'})
    assert seen.end is not None
    assert (seen.end.exit_code, b"Cannot use import statement outside a module" in seen.stderr) == (1, True)


def test_require_takes_es_modules(engine: Engine) -> None:
    assert script(engine, "console.log(require('./m.mjs').a);", {"m.mjs": "export const a = 1;"}).stdout == b"1\n"


def test_source_may_have_another_name(engine: Engine) -> None:
    code = "console.log(require.main === module, __filename, process.argv[1] === __filename, require('./w'));"
    seen = script(engine, code, {"a/w.js": "module.exports = 'w';"}, source_file="a/app.cjs")
    assert seen.stdout == b"true /workspace/a/app.cjs true w\n"


def test_source_may_start_with_a_byte_order_mark(engine: Engine) -> None:
    assert script(engine, "\ufeffconsole.log('bom');").stdout == b"bom\n"


# -- its surroundings ---------------------------------------------------------------------------------------

READS_STDIN = {
    "descriptor": "console.log(require('fs').readFileSync(0, 'utf8'));",
    "dev": "console.log(require('fs').readFileSync('/dev/stdin', 'utf8'));",
    "stream": "let all = '';\nfor await (const part of process.stdin) all += part;\nconsole.log(all);",
    "lines": "require('readline').createInterface({ input: process.stdin }).on('line', (line) => console.log(line))"
    ".on('close', () => console.log());",
}


@pytest.mark.parametrize("way", READS_STDIN)
def test_stdin_is_read_in_every_way(engine: Engine, way: str) -> None:
    assert script(engine, READS_STDIN[way], stdin="1 2\n").stdout == b"1 2\n\n"


CHILDREN = """
const cp = require('child_process');
const { Worker, isMainThread, parentPort } = require('worker_threads');
const state = [process.execArgv, process.argv.length, Object.keys(require.cache), require.main === module];
if (!isMainThread) parentPort.postMessage(state);
else if (process.send) process.send(state, () => process.disconnect());
else {
  cp.fork(__filename).on('message', (message) => {
    console.log(JSON.stringify(message));
    new Worker(__filename).on('message', (message) => console.log(JSON.stringify(message)));
  });
}
"""


def test_options_of_the_worker_do_not_reach_children_and_threads(engine: Engine) -> None:
    seen = script(engine, CHILDREN)
    state = '[[],2,["/workspace/main.js"],true]\n'
    assert seen.stdout.decode() == state * 2, seen.stderr


def test_time_zone_of_the_job_needs_no_new_interpreter(engine: Engine) -> None:
    seen = script(
        engine, "console.log(new Date(0).getHours());", environment={"TZ": "Asia/Tokyo", "NODE_ENV": "x"}
    )
    assert seen.end is not None
    assert (seen.stdout, seen.end.cold) == (b"9\n", False)


def test_options_of_the_job_are_nodes_own(engine: Engine) -> None:
    code = "process.emitWarning('careful');\nconsole.log(process.execArgv.length);"
    seen = script(engine, code, environment={"NODE_OPTIONS": "--no-warnings"})
    assert seen.end is not None
    assert (seen.stdout, seen.stderr, seen.end.cold) == (b"0\n", b"", True)


def test_warnings_are_shown(engine: Engine) -> None:
    assert b"Warning: careful" in script(engine, "process.emitWarning('careful');").stderr


# -- its end ------------------------------------------------------------------------------------------------

ENDS = {
    "exit": ("process.stdout.write('x'); process.exit(3);", 3, "x"),
    "exitCode": ("process.exitCode = 7; setTimeout(() => console.log('later'), 20);", 7, "later\n"),
    "above 255": ("process.exit(256 + 4);", 4, ""),
    "negative": ("process.exit(-1);", 255, ""),
    "handlers": ("process.on('beforeExit', () => console.log('b'));\n"
                 "process.on('exit', (code) => { console.log('e', code); process.exitCode = 9; });", 9, "b\ne 0\n"),
    "handlers after exit": ("process.on('exit', (code) => console.log('e', code)); process.exit(4);", 4, "e 4\n"),
    "timers": ("setTimeout(() => console.log('late'), 1500); setInterval(() => {}, 10).unref();", 0, "late\n"),
    "handled rejection": ("process.on('unhandledRejection', (e) => console.log(e)); Promise.reject(3);", 0, "3\n"),
    "unsettled": ("import 'fs';\nawait new Promise(() => {});", 13, ""),
    "replaced emit": ("const { emit } = process;\nprocess.emit = function (...words) {\n"
                      "  const answer = emit.apply(this, words);\n"
                      "  if (words[0] === 'exit') require('fs').writeSync(1, 'last');\n"
                      "  return answer;\n};", 0, "last"),
}  # fmt: skip


@pytest.mark.parametrize("way", ENDS)
def test_end_is_nodes_own(engine: Engine, way: str) -> None:
    code, status, stdout = ENDS[way]
    seen = script(engine, code)
    assert seen.end is not None
    assert (seen.end.exit_code, seen.stdout.decode()) == (status, stdout), seen.stderr


def test_exit_loses_no_output(engine: Engine) -> None:
    code = "process.stdout.write('x'.repeat(500000)); process.stderr.write('y'.repeat(500000)); process.exit(0);"
    seen = script(engine, code)
    assert (len(seen.stdout), len(seen.stderr)) == (500_000, 500_000)


FAILS = {
    "thrown": "throw new Error('too bad');",
    "thrown later": "setTimeout(() => { throw new Error('too bad'); }, 1);",
    "rejected": "Promise.reject(new Error('too bad'));",
    "rejected module": "import 'fs';\nthrow new Error('too bad');",
    "thrown at exit": "process.on('exit', () => { throw new Error('too bad'); });",
    "not parsed": "const a = ;",
    "not found": "require('./nope');",
}


@pytest.mark.parametrize("way", FAILS)
def test_uncaught_error_has_nodes_text_and_no_frame_of_ours(engine: Engine, way: str) -> None:
    seen = script(engine, FAILS[way])
    text = seen.stderr.decode()
    assert seen.end is not None
    assert (seen.end.exit_code, "Node.js v24." in text, "/opt/sandbox" in text) == (1, True, False), text


def test_database_is_closed_as_node_closes_it(engine: Engine) -> None:
    # The write-ahead log would be a second artifact, without which the first is empty.
    code = (
        "const { DatabaseSync } = require('node:sqlite');\nconst base = new DatabaseSync('artifacts/a.db');\n"
        "base.exec('pragma journal_mode = wal; create table t (a)');"
    )
    assert list(script(engine, code).artifacts) == ["a.db"]


# -- functions ----------------------------------------------------------------------------------------------

MAINS = {
    "declared": "function main({ a }) { return a + 1; }",
    "constant": "const main = async ({ a }) => a + 1;",
    "module.exports": "module.exports = ({ a }) => a + 1;",
    "exports.main": "exports.main = ({ a }) => a + 1;",
    "takes precedence": "function main({ a }) { return a + 1; }\nmodule.exports = { main: () => 0 };",
    "export": "import 'node:os';\nexport async function main({ a }) { return a + 1; }",
    "export default": "export default ({ a }) => a + 1;",
    "export from": "export { main } from './other.mjs';",
    "module, not exported": "const one = await 1;\nfunction main({ a }) { return a + one; } // the end",
}


@pytest.mark.parametrize("way", MAINS)
def test_main_is_found(engine: Engine, way: str) -> None:
    seen = run(engine, MAINS[way], {"other.mjs": "export const main = ({ a }) => a + 1;"}, arguments='{"a": 1}')
    assert seen.result == b"2", seen.stderr


@pytest.mark.parametrize("test", ["require.main === module", "import.meta.main"])
def test_function_is_not_the_main_module_and_runs_once(engine: Engine, test: str) -> None:
    seen = run(engine, f"console.log('once');\nif ({test}) console.log(main());\nfunction main() {{ return 1; }}")
    assert (seen.stdout, seen.result) == (b"once\n", b"1")


MESSAGES = {
    "nothing": ("function main() {}", "Error: main() must return a value. Use null for an empty result.\n"),
    "throws": ("function main() { throw new TypeError('bad'); }", "Error when executing main: TypeError: bad\n"),
    "rejects": ("async function main() { throw new Error('bad'); }", "Error in async main function: Error: bad\n"),
    "no main": ("const x = 1;", "Error: main() is not defined: "),
    "BigInt": ("const main = () => ({ rows: [0, 0, 0, { price: 3n }] });", "result.rows[3].price is a BigInt. Convert"),
    "circular": ("function main() { const a = { b: {} }; a.b['c d'] = a; return a; }",
                 'result.b["c d"] is result again, a circular reference.'),
}  # fmt: skip


@pytest.mark.parametrize("way", MESSAGES)
def test_function_that_fails_says_why(engine: Engine, way: str) -> None:
    code, message = MESSAGES[way]
    seen = run(engine, code)
    assert seen.end is not None
    assert (seen.end.exit_code, message in seen.stderr.decode(), b"/opt/sandbox" in seen.stderr) == (
        1,
        True,
        False,
    )


@pytest.mark.parametrize("value", ["null", "() => 1"])
def test_result_without_a_value_is_null(engine: Engine, value: str) -> None:
    assert run(engine, f"function main() {{ return {value}; }}").result == b"null"


def test_function_ends_when_its_event_loop_does(engine: Engine) -> None:
    seen = run(engine, "function main() { setTimeout(() => console.log('late'), 1500); return 1; }")
    assert (seen.stdout, seen.result) == (b"late\n", b"1")
