"""What the schema cannot say, told to schemathesis; see test_schemathesis.py."""

import re
import zlib
from typing import Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData, UndefinedStatusCode

RUNTIMES = ("python", "nodejs", "python")
SLUG = re.compile(r"[A-Za-z0-9_-]{1,50}")
MOST_WARM = 2
# Fields whose value may have the right form and still be refused, because of other fields, of what there is, or of
# whom it names. Any other refusal of a request that keeps to the schema is a fault of the schema.
MEANINGS = re.compile(
    r"(executions\[\d+\]\.)?(runtime|code|entry|files|files\[\d+\]\.path|callback_url|limits\.\w+)"
    r"|executions|cursor|label|slug|name|aliases|seccomp_profile|disabled_rules|rules|pool_max"
    r"|modes|compile_command|run_command|function_command|smoke(\..+)?|packages(\..+)?"
    r"|before|after|parent|allow|deny|revision|execution|programs(\..+)?|last"
)
# Of a text; no schema says it of every text there is.
NUL = "Null characters are not allowed."
NOT_UTF8 = "The decoded program is not UTF-8"


def run_on_known(form: Any) -> None:
    """A random name is no runtime's, and nothing would ever run."""
    if isinstance(form, dict):
        name = form.get("runtime")
        if isinstance(name, str) and SLUG.fullmatch(name):
            form["runtime"] = (*RUNTIMES, name)[zlib.crc32(name.encode()) % 4]


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if isinstance(body, dict):
        batch = body.get("executions")
        for form in (body, body.get("execution"), *(batch if isinstance(batch, list) else ())):
            run_on_known(form)
        for name in ("pool_min", "pool_max"):
            # Two hundred warm sandboxes are more than the machine of a test can hold.
            if type(body.get(name)) is int and body[name] <= 200:
                body[name] = min(body[name], MOST_WARM)
    return body


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False for what is none."""
    if isinstance(failure, UndefinedStatusCode) and response.status_code == 414:
        return False  # the web server's answer to an endless query of any endpoint
    if isinstance(failure, RejectedPositiveData) and response.status_code == 422:
        problem = response.json()
        detail = problem["detail"]
        if isinstance(detail, list):  # POST /run
            return NOT_UTF8 not in detail[0]["msg"]
        return detail != NUL and not MEANINGS.fullmatch(problem["field"] or "")
    return True
