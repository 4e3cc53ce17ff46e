"""Section 4 of RAGFlow's contract: arguments in, artifacts out."""

import base64

import pytest

pytestmark = [pytest.mark.needs_docker, pytest.mark.usefixtures("no_policy")]

MIB = 1024**2


def names(answer: dict) -> list[str]:
    assert answer["status"] == "success", answer
    return sorted(artifact["name"] for artifact in answer["artifacts"])


def test_python_gets_its_arguments_by_name(platform):
    answer = platform.run(
        "def main(b, a=5, **more): return [a, b, more]", arguments={"b": 1, "not a name": [None]}
    )
    assert answer["result"]["value"] == [5, 1, {"not a name": [None]}]


def test_javascript_gets_its_arguments_as_one_object(platform):
    answer = platform.run("function main(given) { return given; }", "nodejs", {"b": 1, "not a name": [None]})
    assert answer["result"]["value"] == {"b": 1, "not a name": [None]}


def test_javascript_without_arguments_gets_an_empty_object(platform):
    assert platform.run("function main(given) { return given; }", "nodejs")["result"]["value"] == {}


def test_async_javascript_is_awaited(platform):
    code = "const main = async ({a}) => { await new Promise(r => setTimeout(r, 50)); return a; }"
    assert platform.run(code, "nodejs", {"a": 3})["result"]["value"] == 3


def test_async_python_is_awaited(platform):
    code = "import asyncio\nasync def main(a):\n    await asyncio.sleep(0.05)\n    return a"
    assert platform.run(code, arguments={"a": 3})["result"]["value"] == 3


def test_program_runs_unprivileged_in_its_own_folder(platform):
    code = "import os, sys\ndef main(): return [os.getuid(), os.getgid(), os.getcwd(), sys.stdin.read()]"
    assert platform.run(code)["result"]["value"] == [65534, 65534, "/workspace", ""]


@pytest.mark.parametrize("module", ["numpy", "pandas", "matplotlib", "requests"])
def test_python_has_ragflows_packages(platform, set_columns, module: str):
    set_columns("python", wall_time_ms=60_000, cpu_time_ms=60_000)
    code = f"import {module}\ndef main(): return {module}.__version__"
    assert platform.run(code)["status"] == "success"


def test_javascript_has_axios(platform):
    code = "const axios = require('axios'); function main() { return typeof axios.get; }"
    assert platform.run(code, "nodejs")["result"]["value"] == "function"


KINDS = {
    "a.png": "image/png",
    "b.jpg": "image/jpeg",
    "c.jpeg": "image/jpeg",
    "d.svg": "image/svg+xml",
    "e.pdf": "application/pdf",
    "f.csv": "text/csv",
    "g.json": "application/json",
    "h.html": "text/html",
    "i.PNG": "image/png",
    "j.tar.csv": "text/csv",
}


def test_artifacts_carry_name_type_size_and_content(platform):
    code = (
        "def main(names):\n    for n in names:\n        with open('artifacts/' + n, 'w') as f: f.write('of ' + n)"
    )
    answer = platform.run(code, arguments={"names": list(KINDS)})
    assert sorted(answer["artifacts"], key=lambda a: a["name"]) == [
        {
            "name": name,
            "mime_type": kind,
            "size": len(f"of {name}"),
            "content_b64": base64.b64encode(f"of {name}".encode()).decode(),
        }
        for name, kind in KINDS.items()
    ]


def test_artifacts_of_javascript(platform):
    code = "function main() { require('fs').writeFileSync('artifacts/a.csv', 'x'); return 1; }"
    assert names(platform.run(code, "nodejs")) == ["a.csv"]


def test_artifacts_of_other_kinds_and_odd_names_are_left_out(platform):
    odd = ["a.txt", "b", ".c.csv", "d..csv", "e\\f.csv", "g\nh.csv", "i.csv.gz", "png", ".csv"]
    code = "def main(names):\n    for n in names:\n        with open('artifacts/' + n, 'w') as f: f.write('x')"
    assert names(platform.run(code, arguments={"names": [*odd, "fine.csv"]})) == ["fine.csv"]


def test_artifacts_names_that_are_no_text_are_left_out(platform):
    code = (
        "def main():\n    for n in (b'\\xff.csv', b'fine.csv'):\n        open(b'artifacts/' + n, 'w').write('x')"
    )
    assert names(platform.run(code)) == ["fine.csv"]


def test_artifacts_are_one_byte_to_ten_mebibytes(platform):
    code = """
def main():
    for name, size in {"none": 0, "one": 1, "all": 10 * 2**20, "over": 10 * 2**20 + 1}.items():
        with open(f"artifacts/{name}.csv", "wb") as f:
            f.write(b"x" * size)
"""
    answer = platform.run(code)
    assert {a["name"]: a["size"] for a in answer["artifacts"]} == {"all.csv": 10 * MIB, "one.csv": 1}


def test_artifacts_are_plain_files_directly_in_the_folder(platform):
    code = """
import os
def main():
    os.makedirs("artifacts/folder.csv/deeper")
    open("artifacts/folder.csv/inside.csv", "w").write("x")
    os.symlink("/etc/passwd", "artifacts/link.csv")
    os.symlink("plain.csv", "artifacts/inner-link.csv")
    os.mkfifo("artifacts/fifo.csv")
    open("artifacts/plain.csv", "w").write("x")
"""
    assert names(platform.run(code)) == ["plain.csv"]


@pytest.mark.parametrize("target", ["/etc", "/proc/1", "/workspace/elsewhere"])
def test_artifacts_folder_that_became_a_link_is_not_followed(platform, target: str):
    code = f"""
import os
def main():
    os.makedirs("elsewhere", exist_ok=True)
    open("elsewhere/a.csv", "w").write("x")
    os.rmdir("artifacts")
    os.symlink({target!r}, "artifacts")
"""
    assert names(platform.run(code)) == []


def test_artifacts_unreadable_to_others_are_still_the_programs(platform):
    code = "import os\ndef main():\n    os.umask(0o077)\n    open('artifacts/a.csv', 'w').write('x')"
    assert names(platform.run(code)) == ["a.csv"]


def test_artifacts_are_kept_in_the_history(platform):
    platform.run("def main(): open('artifacts/a.csv', 'w').write('kept')")
    rows = platform.sql(
        "SELECT name, content FROM executions_artifact WHERE execution_id = %s", platform.last_execution()["id"]
    )
    assert [(row["name"], bytes(row["content"])) for row in rows] == [("a.csv", b"kept")]


@pytest.mark.parametrize("end", ["raise ValueError", "raise SystemExit(1)"])
def test_artifacts_of_failed_runs_are_left_out(platform, end: str):
    assert platform.run(f"def main():\n    open('artifacts/a.csv', 'w').write('x')\n    {end}")["artifacts"] == []


def test_artifacts_without_a_result_count(platform):
    answer = platform.run("def main():\n    open('artifacts/a.csv', 'w').write('x')\n    raise SystemExit(0)")
    assert (names(answer), answer["result"]) == (["a.csv"], None)
