"""How Judge0's format compares output with the expected one, and what it keeps of that."""

import hashlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from audit.models import RetentionPolicy
from clients.models import Client
from executions import services
from executions.models import Execution
from redaction import services as redaction
from redaction.models import RedactionPattern
from tests.api.compatible.conftest import DONE, Caller, ending
from tests.api.compatible.judge0 import SUBMISSIONS, submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redacts(client_row: Client) -> Iterator[Callable[[str], None]]:
    """From the call on, matches of the pattern are redacted."""

    def redacts(regex: str) -> None:
        RetentionPolicy.objects.create(redact=True)
        RedactionPattern.objects.create(name="x", regex=regex)
        redaction.cache.forget()

    yield redacts
    redaction.cache.forget()


# A pattern in what is compared, and one that matches hashes.
@pytest.mark.parametrize("regex", ["s3cret", r"\b[0-9a-f]{32,}\b"])
@pytest.mark.parametrize(("stdout", "status"), [("a s3cret\n", 3), ("b s3cret\n", 4)])
def test_redacted_output_is_compared_with_the_expected(
    judge: Caller, redacts: Callable[[str], None], regex: str, stdout: str, status: int
) -> None:
    redacts(regex)
    token = submit(judge, expected_output="a s3cret").json()["token"]
    services.finish(uuid.UUID(token), DONE, stdout=stdout)
    assert judge.get(f"{SUBMISSIONS}/{token}").json()["status"]["id"] == status


def test_output_that_is_withheld_is_not_accepted(judge: Caller, redacts: Callable[[str], None]) -> None:
    redacts("(")
    token = submit(judge, expected_output="a").json()["token"]
    services.finish(uuid.UUID(token), DONE, stdout="b")
    assert judge.get(f"{SUBMISSIONS}/{token}").json()["status"]["id"] == 13


def test_expected_output_cannot_be_guessed_from_the_execution(judge: Caller) -> None:
    submit(judge, expected_output="1234")
    (label,) = Execution.objects.get().labels.values()
    assert len(label) == 64
    assert label != hashlib.sha256(b"1234").hexdigest()


def test_expected_output_may_be_what_a_row_cannot_hold(judge: Caller) -> None:
    with ending(stdout=services.db_text("a\0b")):
        answer = submit(judge, "?wait=true", expected_output="a\0b")
    assert answer.json()["status"]["id"] == 3
