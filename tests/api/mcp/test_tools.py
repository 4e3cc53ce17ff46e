"""What the tools take and return, up to the queue; test_live.py has what becomes of it there."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from api.mcp import results, tools
from api.v1.listing import ListForm
from clients.models import Client
from executions.forms import FileForm, LimitsForm, SubmissionForm
from executions.models import Artifact, Execution, Outcome, Status
from runtimes.models import Runtime
from tests.api.mcp.conftest import Mcp
from usage import refusals

pytestmark = pytest.mark.django_db
Mine = Callable[..., Execution]
RUN = {"language": "python", "code": "print(1)", "wait": 0}
PNG = b"\x89PNG\r\n\x1a\nx"


def refused(result: dict[str, Any]) -> dict[str, Any]:
    assert result["isError"] and "structuredContent" not in result
    return dict(json.loads(result["content"][0]["text"]))


# -- the list -----------------------------------------------------------------------------------------------


def test_list_has_the_runtimes_that_the_client_may_use(mcp: Mcp, client_row: Client) -> None:
    Runtime.objects.create(slug="awk", name="AWK", image="x", source_file="a")
    Runtime.objects.create(slug="off", name="Off", image="x", source_file="a", enabled=False)
    listed = mcp.result("tools/list")["tools"]
    assert [tool["name"] for tool in listed] == list(tools.NAMES)
    assert listed[0]["inputSchema"]["properties"]["language"]["enum"] == ["awk", "python"]
    client_row.allowed_runtimes = ["python"]
    client_row.save()
    assert mcp.result("tools/list")["tools"][0]["inputSchema"]["properties"]["language"]["enum"] == ["python"]


@pytest.mark.parametrize(
    ("of_runtime", "of_client"), [("egress", "none"), ("none", "egress"), ("egress", "egress")]
)
def test_tool_says_whether_there_is_a_network(
    modern: Mcp, client_row: Client, of_runtime: str, of_client: str
) -> None:
    Runtime.objects.create(slug="awk", name="AWK", image="x", source_file="a")
    Runtime.objects.filter(slug="python").update(network=of_runtime)
    client_row.network = of_client
    client_row.save()
    tool = modern.result("tools/list")["tools"][0]
    is_online = of_runtime == of_client == "egress"
    assert tool["annotations"]["openWorldHint"] == is_online
    assert ("allowed hosts in python," in tool["description"], "awk" in tool["description"]) == (is_online, False)
    listed = modern.call("list_runtimes")["structuredContent"]["runtimes"]
    assert {row["slug"]: row["network"] for row in listed} == {
        "awk": "none",
        "python": "egress" if is_online else "none",
    }


def test_auditor_is_offered_no_run(auditor: Mcp) -> None:
    assert "run_code" not in [tool["name"] for tool in auditor.result("tools/list")["tools"]]
    assert "role auditor" in refused(auditor.call("run_code", **RUN))["error"]
    assert not Execution.objects.exists()


def test_schemas_are_schemas_and_their_fields_those_of_the_forms(modern: Mcp) -> None:
    listed = {tool["name"]: tool for tool in modern.result("tools/list")["tools"]}
    for tool in listed.values():
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
    fields = listed["run_code"]["inputSchema"]["properties"]
    assert fields.keys() - {"language"} == SubmissionForm().fields.keys() - {"callback_url", "runtime"}
    assert fields["limits"]["properties"].keys() == LimitsForm().fields.keys()
    assert fields["files"]["items"]["properties"].keys() == FileForm().fields.keys()
    assert fields["wait"]["maximum"] == SubmissionForm().fields["wait"].max_value
    assert listed["search_runs"]["inputSchema"]["properties"].keys() - {"language"} <= ListForm().fields.keys()


def test_list_is_short(modern: Mcp) -> None:
    text = json.dumps(modern.result("tools/list")["tools"], separators=(",", ":"))
    assert len(text) < 6000


# -- run_code -----------------------------------------------------------------------------------------------


def test_program_is_queued_like_any_other(mcp: Mcp, client_row: Client) -> None:
    done = mcp.call("run_code", **RUN, stdin="in", argv=["-v"], labels={"a": "b"}, limits={"wall_time_ms": 500})
    row = Execution.objects.get()
    assert (row.client, row.endpoint, row.code, row.stdin, row.argv) == (
        client_row,
        "mcp",
        "print(1)",
        "in",
        ["-v"],
    )
    assert (row.limits["wall_time_ms"], row.labels, row.announce_start) == (500, {"a": "b"}, True)
    assert (done["structuredContent"]["id"], done["structuredContent"]["status"]) == (str(row.pk), "queued")
    assert "get_run" in done["structuredContent"]["message"]
    assert json.loads(done["content"][0]["text"]) == done["structuredContent"]
    assert not done.get("isError")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"language": "cobol"}, "language"),
    ({"limits": {"wall_time_ms": 10**9}}, "limits.wall_time_ms"),
    ({"mode": "x"}, "mode"),
    ({"files": [{"path": "../x", "content": ""}]}, "files[0].path"),
    ({"unknown": 1}, "unknown"),
    ({"wait": -1}, "wait"),
    ({"code": "\0"}, "code"),
]


@pytest.mark.parametrize(("change", "field"), WRONG)
def test_wrong_argument_is_told_to_the_model(modern: Mcp, change: dict[str, Any], field: str) -> None:
    said = refused(modern.call("run_code", **(RUN | change)))
    assert (said["field"], bool(said["error"]), bool(said["remedy"])) == (field, True, True)
    assert not Execution.objects.exists()


def test_unknown_runtime_names_the_tool_that_lists_them(modern: Mcp) -> None:
    assert refused(modern.call("run_code", **(RUN | {"language": "cobol"})))["remedy"] == "Call list_runtimes."


def test_quota_is_told_with_a_time_to_retry_and_counted(
    modern: Mcp, client_row: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Any] = []
    monkeypatch.setattr(refusals, "count", lambda *args: counted.append(args))
    client_row.max_open_executions = 1
    client_row.save()
    modern.call("run_code", **RUN)
    said = refused(modern.call("run_code", **RUN))
    assert (said["retry_after_s"], Execution.objects.count()) == (1, 1)
    assert counted == [(refusals.Kind.OPEN, client_row.pk, Runtime.objects.get().pk)]


def test_runtime_that_the_client_may_not_use(modern: Mcp, client_row: Client) -> None:
    client_row.allowed_runtimes = ["nodejs"]
    client_row.save()
    assert refused(modern.call("run_code", **RUN))["field"] == "language"


def test_repeated_request_of_a_session_is_the_first_run(older: Mcp) -> None:
    older.session = "s1"
    first = older.call("run_code", **RUN)
    older.number -= 1
    assert older.call("run_code", **RUN)["structuredContent"]["id"] == first["structuredContent"]["id"]
    older.session, older.number = "s2", older.number - 1
    older.call("run_code", **RUN)
    assert Execution.objects.count() == 2


def test_repeated_id_with_another_program_is_told_to_the_model(older: Mcp) -> None:
    older.session = "s1"
    older.call("run_code", **RUN)
    older.number -= 1
    said = refused(older.call("run_code", **(RUN | {"code": "print(2)"})))
    assert "field" not in said and "Key" not in str(said)
    assert said["remedy"].startswith("Call run_code again.")
    assert "status" in older.call("run_code", **(RUN | {"code": "print(2)"}))["structuredContent"]


# -- cancel -------------------------------------------------------------------------------------------------


def test_notification_cancels_the_run_of_its_session(older: Mcp) -> None:
    older.session = "s1"
    older.call("run_code", **RUN)
    for session, identity in (("s2", 1), ("s1", 2), ("s1", "1"), ("", 1)):
        older.session = session
        older.notify("notifications/cancelled", requestId=identity)
        assert Execution.objects.get().status == Status.QUEUED
    older.session = "s1"
    assert older.notify("notifications/cancelled", requestId=1).status_code == 202
    row = Execution.objects.get()
    assert (row.status, row.outcome) == (Status.CANCELLED, Outcome.CANCEL_REQUESTED)


def test_stranger_cancels_nothing(older: Mcp, stranger: Mcp) -> None:
    older.session = stranger.session = "s1"
    stranger.version = older.version
    older.call("run_code", **RUN)
    stranger.notify("notifications/cancelled", requestId=1)
    assert Execution.objects.get().status == Status.QUEUED


@pytest.mark.parametrize("identity", [None, [], {}, True, 1.5, "\ud800"])
def test_odd_cancellation_is_taken_and_ignored(older: Mcp, identity: Any) -> None:
    older.session = "s1"
    assert older.notify("notifications/cancelled", requestId=identity).status_code == 202


# -- get_run ------------------------------------------------------------------------------------------------


def test_failing_program_is_a_normal_result(mcp: Mcp, mine: Mine) -> None:
    row = mine(status=Status.FAILED, outcome=Outcome.NONZERO_EXIT, exit_code=3, stderr="no", stdout="out")
    done = mcp.call("get_run", id=str(row.pk))
    found = done["structuredContent"]
    assert not done.get("isError")
    assert (found["status"], found["exit_code"], found["stdout"], found["stderr"]) == ("failed", 3, "out", "no")
    assert found["code"] == row.code
    jsonschema.validate(found, tools.RUN)


def test_fault_of_the_platform_is_an_error_with_a_hint(mcp: Mcp, mine: Mine) -> None:
    row = mine(status=Status.PLATFORM_ERROR, outcome=Outcome.INTERNAL, message="Broken.")
    done = mcp.call("get_run", id=str(row.pk))
    assert done["isError"]
    assert "not the program" in done["structuredContent"]["message"]
    assert "Try again in 5 seconds" in done["content"][0]["text"]
    jsonschema.validate(done["structuredContent"], tools.RUN)


def test_return_value_is_json(modern: Mcp, mine: Mine) -> None:
    for text, value in (('{"a": [1, "\\ud800"]}', {"a": [1, "\ud800"]}), ("NaN", None), ("null", None)):
        row = mine(result=text)
        assert modern.call("get_run", id=str(row.pk))["structuredContent"].get("result") == value


def test_long_output_is_cut_in_the_middle_and_read_on_from_an_offset(modern: Mcp, mine: Mine) -> None:
    text = "".join(f"{number:07}\n" for number in range(10_000))
    row = mine(stdout=text)
    found = modern.call("get_run", id=str(row.pk))["structuredContent"]
    half = results.MOST_CHARACTERS // 2
    assert found["stdout"].startswith(text[:half] + "\n[... 60000 characters left out: get_run with offset 10000")
    assert found["stdout"].endswith(text[-half:])
    assert found["stdout_length"] == len(text)
    later = modern.call("get_run", id=str(row.pk), offset=half)["structuredContent"]
    assert later["stdout"] == text[half : half + results.MOST_CHARACTERS]


def test_long_program_and_long_result_are_read_on_from_an_offset(modern: Mcp, mine: Mine) -> None:
    text = "".join(f"{number:07} " for number in range(10_000))
    row = mine(code=text, result=json.dumps(text), stdout="short")
    most, half = results.MOST_CHARACTERS, results.MOST_CHARACTERS // 2
    first = modern.call("get_run", id=str(row.pk))["structuredContent"]
    later = modern.call("get_run", id=str(row.pk), offset=half)["structuredContent"]
    for name, whole in (("code", text), ("result", json.dumps(text))):
        assert f"get_run with offset {half} ...]" in first[name]
        assert (later[name], later[f"{name}_length"]) == (whole[half : half + most], len(whole))
    assert (first["stdout"], later["stdout"], later["stdout_length"]) == ("short", "", 5)
    jsonschema.validate(later, tools.RUN)


def test_pictures_are_shown_and_all_files_linked(mcp: Mcp, mine: Mine) -> None:
    row = mine(artifact_count=3)
    for name, content in (("a b.png", PNG), ("t.csv", b"1,2"), ("big.png", b"x" * (results.MOST_IMAGE_BYTES + 1))):
        Artifact.objects.create(execution=row, name=name, content=content, size=len(content))
    done = mcp.call("get_run", id=str(row.pk))
    images = [block for block in done["content"] if block["type"] == "image"]
    links = [block for block in done["content"] if block["type"] == "resource_link"]
    assert [(image["mimeType"], base64.b64decode(image["data"])) for image in images] == [("image/png", PNG)]
    assert [link["name"] for link in links] == ["a b.png", "t.csv", "big.png"]
    assert [file["url"] for file in done["structuredContent"]["files"]] == [link["uri"] for link in links]
    fetched = mcp.http.get(links[0]["uri"].removeprefix("http://testserver"))
    assert fetched.content == PNG
    jsonschema.validate(done["structuredContent"], tools.RUN)


def test_strangers_run_is_not_found(stranger: Mcp, mine: Mine) -> None:
    assert "belongs to another client" in refused(stranger.call("get_run", id=str(mine().pk)))["error"]


@pytest.mark.parametrize("arguments", [{}, {"id": "x"}, {"id": -3}, {"id": None}, {"id": "\0"}, {"offset": 1.5}])
def test_what_names_no_run(modern: Mcp, arguments: dict[str, Any]) -> None:
    assert refused(modern.call("get_run", **arguments))["field"] in ("id", "offset")


# -- search_runs and list_runtimes --------------------------------------------------------------------------


def test_search_pages_through_the_own_runs(mcp: Mcp, mine: Mine, make_execution: Mine) -> None:
    rows = [mine(labels={"n": "1"}) for _ in range(3)]
    make_execution()
    first = mcp.call("search_runs", limit=2, label=["n:1"])["structuredContent"]
    rest = mcp.call("search_runs", limit=2, label=["n:1"], cursor=first["cursor"])["structuredContent"]
    assert [run["id"] for run in first["runs"] + rest["runs"]] == [str(row.pk) for row in reversed(rows)]
    assert "cursor" not in rest and "client" not in rest["runs"][0] and "stdout" not in rest["runs"][0]
    jsonschema.validate(first, tools.RUNS)


def test_search_finds_words_and_statuses(modern: Mcp, mine: Mine) -> None:
    row = mine(stderr="an unmistakable word", status=Status.FAILED)
    mine()
    for wanted in ({"q": "unmistakable"}, {"status": "failed"}):
        assert [run["id"] for run in modern.call("search_runs", **wanted)["structuredContent"]["runs"]] == [
            str(row.pk)
        ]


def test_auditor_sees_whose_they_are(auditor: Mcp, mine: Mine) -> None:
    mine()
    assert auditor.call("search_runs")["structuredContent"]["runs"][0]["client"] == "ragflow"


def test_wrong_search_is_told(modern: Mcp) -> None:
    assert refused(modern.call("search_runs", cursor="x"))["field"] == "cursor"
    assert refused(modern.call("search_runs", status="x"))["field"] == "status"


def test_runtimes_with_the_limits_that_the_client_has(mcp: Mcp, client_row: Client) -> None:
    client_row.max_wall_time_ms = 700
    client_row.save()
    found = mcp.call("list_runtimes")["structuredContent"]
    assert [(row["slug"], row["limits"]["wall_time_ms"]) for row in found["runtimes"]] == [("python", 700)]
    jsonschema.validate(found, tools.RUNTIMES)


def test_one_runtime_by_its_alias(modern: Mcp) -> None:
    found = modern.call("list_runtimes", language="python3")["structuredContent"]["runtimes"]
    assert [(row["slug"], row["packages"]) for row in found] == [("python", {})]
    assert refused(modern.call("list_runtimes", language="cobol"))["field"] == "language"


# -- resources ----------------------------------------------------------------------------------------------


def test_file_is_a_resource(mcp: Mcp, stranger: Mcp, mine: Mine) -> None:
    row = mine(artifact_count=2)
    for name, content in (("ü.csv", b"1,2"), ("x.bin", b"\xff")):
        Artifact.objects.create(execution=row, name=name, content=content, size=len(content))
    links = [block["uri"] for block in mcp.call("get_run", id=str(row.pk))["content"] if block["type"] != "text"]
    text, raw = (mcp.result("resources/read", uri=uri)["contents"][0] for uri in links)
    assert (text["text"], text["mimeType"], base64.b64decode(raw["blob"])) == ("1,2", "text/csv", b"\xff")
    assert stranger.error("resources/read", uri=links[0]) == (400, -32602)


@pytest.mark.parametrize(
    "uri", ["", "x", "file:///etc/passwd", "http://h/api/v1/executions/" + "0" * 36 + "/artifacts/x"]
)
def test_what_is_no_resource(older: Mcp, uri: str) -> None:
    assert older.error("resources/read", uri=uri) == (200, -32002)


def test_template_and_empty_list(mcp: Mcp) -> None:
    assert mcp.result("resources/list")["resources"] == []
    template = mcp.result("resources/templates/list")["resourceTemplates"][0]["uriTemplate"]
    assert template == "http://testserver/api/v1/executions/{id}/artifacts/{name}"


def test_argument_has_no_name_that_langchain_takes_for_its_own(modern: Mcp) -> None:
    for tool in modern.result("tools/list")["tools"]:
        assert "runtime" not in tool["inputSchema"]["properties"]


def test_language_may_be_called_runtime_too(modern: Mcp) -> None:
    modern.call("run_code", runtime="python", code="1", wait=0)
    assert Execution.objects.get().runtime.slug == "python"


# No time to wait among them, which would end the test's transaction.
ODD: list[Any] = [None, True, 2**80, "\0", "\ud800", [[]], {"a": {}}]
HIDDEN = ["callback_url", "client", "fields", "ordering", "failure", "min_duration_ms", "nonsense"]


@pytest.mark.parametrize("tool", tools.NAMES)
def test_odd_arguments_are_told_and_never_an_error_of_the_server(older: Mcp, mine: Mine, tool: str) -> None:
    usual = {"run_code": RUN, "get_run": {"id": str(mine().pk)}}.get(tool, {})
    (schema,) = (one["inputSchema"] for one in older.result("tools/list")["tools"] if one["name"] == tool)
    for name in [*schema["properties"], *HIDDEN]:
        for value in ODD:
            assert older.call(tool, **(usual | {name: value}))["content"][0]["type"] == "text"
