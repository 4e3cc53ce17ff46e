"""Defects 20 to 23 of RAGFlow's executor manager (docs/ragflow.md): JavaScript, and artifacts."""

import pytest

pytestmark = [pytest.mark.needs_docker, pytest.mark.usefixtures("no_policy")]


@pytest.mark.parametrize(
    "code",
    [
        "module.exports = {main: ({a}) => a};",
        "module.exports = ({a}) => a;",
        "exports.main = async ({a}) => a;",
        "function main({a}) { return a; } module.exports = {other: 1};",
        "const main = ({a}) => a;",
        "let main = async function ({a}) { return a; } // no newline at the end",
        "'use strict'; var main = ({a}) => a",
    ],
)
def test_20_main_may_be_a_binding_or_an_export(platform, code: str):
    answer = platform.run(code, "nodejs", {"a": 5})
    assert answer["result"] == {"present": True, "value": 5, "type": "json"}, answer["stderr"]


@pytest.mark.parametrize(
    "pending",
    [
        "setTimeout(() => {}, 3600e3);",
        "setInterval(() => {}, 10);",
        "require('http').createServer().listen(8080);",
        "new (require('worker_threads').Worker)('for (;;);', {eval: true});",
        "(function again() { setImmediate(again); })();",
    ],
)
def test_21_result_is_there_though_something_is_pending(platform, short_runs, pending: str):
    answer = platform.run(f"function main() {{ {pending} console.log('said'); return 1; }}", "nodejs")
    assert (answer["status"], answer["stdout"], answer["result"]["value"]) == ("success", "said\n", 1)


def test_21_what_ends_after_main_still_counts(platform):
    code = "function main() { setTimeout(() => console.log('late'), 100); return 1; }"
    assert platform.run(code, "nodejs")["stdout"] == "late\n"


def test_21_result_before_a_block_of_the_event_loop_is_kept(platform, short_runs):
    code = "function main() { setTimeout(() => { for (;;); }, 0); return 1; }"
    assert platform.run(code, "nodejs")["result"]["value"] == 1


@pytest.mark.parametrize(
    ("end", "status"),
    [("return 1;", "success"), ("process.exit(0);", "success"), ("throw 'up';", "program_error")],
)
def test_output_larger_than_a_pipe_is_complete_however_it_ends(platform, end: str, status: str):
    code = f"function main() {{ for (const s of ['stdout', 'stderr']) process[s].write(s[3].repeat(1e6)); {end} }}"
    answer = platform.run(code, "nodejs")
    assert answer["status"] == status
    assert answer["stderr"].startswith("e" * 10**6)
    assert status != "success" or answer["stdout"] == "o" * 10**6


def test_22_javascript_has_an_artifacts_folder_and_may_write_to_it(platform):
    code = "const fs = require('fs'); function main() { fs.writeFileSync('artifacts/a.csv', '1'); return 1; }"
    assert [a["name"] for a in platform.run(code, "nodejs")["artifacts"]] == ["a.csv"]


def test_23_files_that_do_not_count_do_not_use_up_the_limit(platform):
    code = """
def main():
    for i in range(30):
        for suffix in ("txt", "csv"):
            with open(f"artifacts/{i:02}.{suffix}", "w") as f: f.write("x")
        open(f"artifacts/{i:02}-empty.csv", "w").close()
"""
    answer = platform.run(code)
    assert [a["name"] for a in answer["artifacts"]] == [f"{i:02}.csv" for i in range(10)]
