"""What a caller sends and reads is bounded before it takes memory. Each bound is a setting, which the refusal names."""

import base64
import json
import resource
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from rest_framework.test import APIClient

from executions import export, places, representation
from executions.models import Execution
from runtimes import code_policy
from runtimes.models import Runtime
from sandbox_platform.kit.json_size import TooManyValues, refuse_many_values
from tests.api.v1.conftest import API
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db
Submit = Callable[..., Any]


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(api: APIClient, code: str = "", arguments: str = "{}") -> Any:
    encoded = base64.b64encode(code.encode()).decode()
    body = f'{{"code_b64": "{encoded}", "language": "python", "arguments": {arguments}}}'
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return api.post("/run", body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("raw", [b"[1,2,3]", b'[{"a": [1]}]', b'["\\"", "[,,", 1]', b'["unclosed'])
def test_few_values_pass(raw: bytes) -> None:
    refuse_many_values(raw, 4)


@pytest.mark.parametrize("raw", [b"[1,2,3,4,5]", b"[[[[[", b'["\\\\", 1, 2, 3, 4]', b"{{{{{"])
def test_many_values_are_refused(raw: bytes) -> None:
    with pytest.raises(TooManyValues, match="SANDBOX_MAX_VALUES"):
        refuse_many_values(raw, 4)


def test_commas_in_a_program_are_no_values(submit: Submit, settings: Any) -> None:
    settings.SANDBOX_MAX_VALUES = 1000
    assert submit(code="print('," + "," * 5000 + "')").status_code == 202


def test_a_bound_is_said_with_its_unit(submit: Submit, api: APIClient, settings: Any) -> None:
    settings.SANDBOX_MAX_PROGRAM_BYTES = 1024
    said = "The program has 1,025 bytes; the limit is 1 KiB (SANDBOX_MAX_PROGRAM)."
    assert submit(code="#" * 1025).json()["detail"] == said
    assert said in run(api, "#" * 1025).json()["detail"]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2048
    assert "the limit is 2 KiB (SANDBOX_MAX_REQUEST)" in submit(code="#" * 3000).json()["detail"]
    assert "larger than 2 KiB (SANDBOX_MAX_REQUEST)" in run(api, "#" * 3000).json()["detail"]


@pytest.mark.parametrize("path", ["/run", f"{API}/executions"])
def test_a_body_of_lists_takes_no_memory(api: APIClient, path: str) -> None:
    body = b'{"arguments": {"a": [' + b"[]," * 3_000_000 + b"[]]}}"
    before = peak_bytes()
    answer = api.post(path, body, content_type="application/json", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, "SANDBOX_MAX_VALUES" in answer.json()["detail"]) == (413, True)
    assert peak_bytes() - before < 60 * 2**20


def test_a_large_program_is_refused(submit: Submit, settings: Any) -> None:
    settings.SANDBOX_MAX_PROGRAM_BYTES = 1000
    assert submit(code="é" * 500).status_code == 202
    answer = submit(code="é" * 501)
    assert (answer.status_code, answer.json()["field"]) == (422, "code")
    assert "SANDBOX_MAX_PROGRAM" in answer.json()["detail"]


def test_a_large_program_among_files_is_refused(submit: Submit, settings: Any) -> None:
    settings.SANDBOX_MAX_PROGRAM_BYTES = 1000
    answer = submit(code=..., files=[{"path": "main.py", "content": "x" * 1001}])
    assert (answer.status_code, answer.json()["field"]) == (422, "files")


def test_large_arguments_are_refused(submit: Submit, settings: Any) -> None:
    settings.SANDBOX_MAX_ARGUMENTS_BYTES = 1000
    answer = submit(mode="function", arguments={"a": "x" * 1000})
    assert (answer.status_code, answer.json()["field"]) == (422, "arguments")
    assert "SANDBOX_MAX_ARGUMENTS" in answer.json()["detail"]


def test_run_refuses_them_in_ragflow_s_shape(api: APIClient, settings: Any) -> None:
    settings.SANDBOX_MAX_PROGRAM_BYTES = settings.SANDBOX_MAX_ARGUMENTS_BYTES = 1000
    for answer in (run(api, code="x" * 1001), run(api, arguments=json.dumps({"a": "x" * 1000}))):
        assert (answer.status_code, "SANDBOX_MAX_" in answer.json()["detail"]) == (413, True)
    assert not Execution.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["run", "executions", "batches"])
def test_the_check_of_a_large_program_holds_no_connection(
    api: APIClient, python_runtime: Runtime, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the few that wait for their check take all connections of a process."""
    Runtime.objects.update(code_policy="block", ragflow_code_policy="block")
    held = []

    def check(*_: object) -> list[code_policy.Violation]:
        held.append(connection.connection is not None)
        return [code_policy.Violation("python.import", 1, "rejected, so that nobody waits for it")]

    monkeypatch.setattr(code_policy, "check", check)
    code = "x=1\n" * 20_000
    one = {"runtime": "python", "code": code}
    if door == "run":
        run(api, code=code)
    else:
        body = one if door == "executions" else {"executions": [one, one]}
        api.post(f"{API}/{door}", json.dumps(body), content_type="application/json")
    assert held in ([False], [False, False])
    assert Execution.objects.filter(status="rejected").count() == len(held)


@pytest.mark.parametrize("ordering", ["-queued_at", "queued_at"])
def test_a_page_of_large_rows_ends_early(
    api: APIClient, client_row: Any, make_execution: Any, settings: Any, ordering: str
) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 2500
    rows = [make_execution(client=client_row, code="x" * 1000) for _ in range(5)]
    rows.append(make_execution(client=client_row, code="x" * 9000))
    seen, lengths, path = [], [], f"{API}/executions?fields=id,code&ordering={ordering}"
    while path:
        page = api.get(path).json()
        seen += [row["id"] for row in page["results"]]
        lengths.append(len(page["results"]))
        path = page["next"]
    assert seen == [str(row.pk) for row in (rows if ordering == "queued_at" else rows[::-1])]
    assert sorted(lengths) == [1, 1, 2, 2]


def test_a_page_without_large_fields_is_whole(
    api: APIClient, client_row: Any, make_execution: Any, settings: Any
) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 1
    for _ in range(3):
        make_execution(client=client_row)
    assert len(api.get(f"{API}/executions").json()["results"]) == 3


def large_list(api: APIClient) -> Any:
    return api.get(f"{API}/executions?fields=id,code")


@pytest.fixture
def one_place(monkeypatch: pytest.MonkeyPatch) -> places.Places:
    monkeypatch.setattr(places, "LARGE_PAGE_BYTES", 1000)
    monkeypatch.setattr(places, "pages", places.Places(1, share=1))
    return places.pages


def test_more_large_pages_than_fit_into_memory_are_refused(
    api: APIClient, client_row: Any, make_execution: Any, one_place: places.Places
) -> None:
    make_execution(client=client_row, code="x" * 1000)
    assert one_place.take(client_row.pk)
    refused = large_list(api)
    assert refused.status_code == 429
    assert refused.json()["type"].endswith("too_many_large_pages")
    assert refused["Retry-After"] == "1"
    export = api.get(f"{API}/executions/export?fields=id,code")
    assert export.status_code == 429
    one_place.give_back(client_row.pk)
    assert large_list(api).status_code == large_list(api).status_code == 200  # each gives its place back


def test_small_pages_need_no_place(
    api: APIClient, client_row: Any, make_execution: Any, one_place: places.Places
) -> None:
    make_execution(client=client_row, code="x" * 900)
    assert one_place.take(client_row.pk)
    assert large_list(api).status_code == 200


def test_an_export_holds_its_place_until_it_is_closed(
    one_place: places.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "close", lambda: None)
    response = export.download(
        Execution.objects.all(), ["id", "code"], "csv", reader=1, http=RequestFactory().get("/")
    )
    assert not one_place.take(1)
    response.close()
    assert one_place.take(1)


def test_a_page_that_fails_gives_its_place_back(one_place: places.Places) -> None:
    place = places.PageOf(1)
    place.take()
    del place
    assert one_place.take(1)


def test_an_export_reads_large_rows_in_groups(
    make_execution: Any, settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_MAX_PAGE_BYTES = 2500
    rows = [make_execution(code="x" * 1000) for _ in range(5)]
    monkeypatch.setattr(export.connection, "close", lambda: None)
    with django_assert_num_queries(2 + 3):  # ids, sizes, and three groups
        exported = list(export.rows_of(Execution.objects.select_related("runtime", "client"), ["id", "code"]))
    assert [row["id"] for row in exported] == [row.pk for row in rows[::-1]]


def test_the_large_fields_are_those_with_columns_of_their_own() -> None:
    assert representation.large_columns(["id", "code", "environment"]) == ["code", "variables"]
