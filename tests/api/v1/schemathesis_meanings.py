"""What a schema cannot say, told to schemathesis; see test_schemathesis.py.

A request may keep to its schema and still be refused: because of what it names, because two of its fields do not
go together, or because a text must also be a command, a profile or a program. Each such refusal is listed here
with the endpoint, the field and the words of the answer; any other 422 to such a request is a fault of the schema.
"""

import copy
import itertools
import re
import zlib
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis.openapi.checks import MissingHeaderNotRejected, RejectedPositiveData, UndefinedStatusCode

from sandbox_platform.kit import formats

RUNTIMES = ("python", "nodejs", "python")
SLUG = re.compile(r"[A-Za-z0-9_-]{1,50}")
MOST_WARM = 2
KEY = "Idempotency-Key"
NUMBERS = itertools.count(1)
CHANGED = {"slug": "nodejs", "name": "strict"}
# What each runner needs, and no more.
COMMANDS = ("compile_command", "run_command", "function_command")
RUNNERS = {
    "native": ("", "", ""),
    "universal": ("", "sh {source}", "sh {source}"),
    "shell": ("", "sh {source}", ""),
}


@dataclass(frozen=True)
class Meaning:
    """Regular expressions of method and path (of the schema), field, and the beginning of the detail."""

    endpoint: str
    field: str
    says: str

    def covers(self, endpoint: str, problem: dict[str, Any]) -> bool:
        return bool(
            re.fullmatch(self.endpoint, endpoint)
            and re.fullmatch(self.field, problem["field"] or "")
            and re.match(self.says, problem["detail"])
        )


API = "/api/v1"
SUBMIT = f"POST {API}/(executions|batches)"
LIST = f"GET {API}/executions(/export)?"
RUNTIME = f"(POST {API}/runtimes|PATCH {API}/runtimes/{{slug}})"
BUILD = f"POST {API}/runtimes/{{slug}}/builds"
PROFILES = f"{API}/seccomp-profiles"
PROFILE = f"(POST {PROFILES}|PATCH {PROFILES}/{{name}}|POST {PROFILES}/{{name}}/revisions)"
INSPECT = f"POST {API}/seccomp-inspections"
IN_BATCH = r"(executions\[\d+\]\.)?"

MEANINGS = [
    # Of a text; no schema says it of every text there is.
    Meaning(".*", ".*", "Null characters are not allowed"),
    # Names what there is not.
    Meaning(SUBMIT, f"{IN_BATCH}runtime", "There is no runtime "),
    Meaning(f"({RUNTIME}|POST {PROFILES}(/validate)?)", "seccomp_profile|parent", "There is no seccomp profile "),
    Meaning(INSPECT, "runtime|profile", "There is no "),
    Meaning(INSPECT, "revision|execution", ".* has no (such execution|revision )"),
    Meaning(f"GET {PROFILES}/{{name}}/diff", "before|after", ".* (has no revision|extends no other profile)"),
    # A runtime that is enabled needs its image on the nodes.
    Meaning(RUNTIME, "image", r"(No node has|\d+ of \d+ nodes do not have) the image "),
    # Is taken.
    Meaning(RUNTIME, "slug", "Runtime with this Slug already exists"),
    Meaning(RUNTIME, "aliases", ".* already names the runtime "),
    Meaning(f"(POST {PROFILES}|PATCH {PROFILES}/{{name}})", "name", ".* (already exists|is reserved)"),
    # Is above a cap, which is of the client and the runtime.
    Meaning(SUBMIT, rf"{IN_BATCH}limits\.\w+", r"\w+ is above the (limit|cap) of the (runtime|client) "),
    Meaning(SUBMIT, "executions", r"\d+ executions in one request never fit"),
    Meaning(SUBMIT, f"{IN_BATCH}mode", "The runtime .* has no mode "),
    # A path below /workspace, whose parts count in bytes.
    Meaning(SUBMIT, rf"{IN_BATCH}files\[\d+\]\.path", "(?s)The path "),
    Meaning(INSPECT, r"programs\[\d+\]\.files", "(?s)The path |.* is both a file and a folder"),
    # Which of the files is the program, and that it is one.
    Meaning(
        SUBMIT,
        f"{IN_BATCH}entry",
        "(?s)entry names a file, but|.* is not among the files|There are several files, and none",
    ),
    Meaning(
        SUBMIT, f"{IN_BATCH}files", "(?s).* is the path of the code|.* is both a file and a folder|The program "
    ),
    # A multipart form's program is in its other parts.
    Meaning(f"POST {API}/executions", "code", "The request has no program"),
    # A URL that may be called: docs/callbacks.md.
    Meaning(SUBMIT, f"{IN_BATCH}callback_url", "The URL |This is not a URL|Port |.* is not a public address"),
    # A cursor is signed by its form, a label has one value, and a sort has its bounds.
    Meaning(f"GET {API}/executions", "cursor", "Not the cursor of a page in this order"),
    Meaning(f"GET {API}/failures", "cursor", "Not the cursor of a page in this order"),
    Meaning(f"GET {API}/alerts", "cursor", "Not the cursor of a page of alerts"),
    Meaning(LIST, "label", ".* cannot have two values"),
    Meaning(f"GET {API}/executions", "ordering", "Too many executions match"),
    # Fields of a runtime that depend on each other, in a PATCH on those it has.
    Meaning(RUNTIME, "pool_max", "Must not be below pool_min"),
    Meaning(RUNTIME, r"limits\.memory_bytes", "Must hold /workspace and /tmp"),
    Meaning(
        RUNTIME,
        "(compile|run|function)_command",
        "A native runner has no|The runner .* needs|A runtime with the runner shell",
    ),
    Meaning(RUNTIME, "modes", "The mode function needs"),
    Meaning(RUNTIME, "network", "A runtime with the runner shell"),
    # Texts that a shell must be able to split into words.
    Meaning(RUNTIME, "(compile|run|function)_command", "Not a command|The command is empty"),
    Meaning(RUNTIME, "smoke", r"smoke\.\d+\.name: .* is used twice"),
    Meaning(f"({RUNTIME}|{PROFILE})", "smoke|rules", "Nested too deeply|(Holds|Contains) NUL or lone surrogates"),
    Meaning(f"({RUNTIME}|{BUILD})", r"packages\.\w+", ".* is listed twice"),
    # A profile has rules, or it extends another; and the runner must live under it.
    Meaning(
        PROFILE,
        "allow|deny",
        "(allow|deny): The profile has no parent to extend|deny: .* is also in the allow list",
    ),
    Meaning(PROFILE, "rules|deny", "The profile extends .*: it takes allow and deny instead of rules"),
    Meaning(PROFILE, "rules|deny", r"((syscalls, rule \d+|defaultAction|syscalls\S*): )?\w+ is denied: "),
    Meaning(PROFILE, "rules", r".*Docker (reads this key as|accepts either)"),
    Meaning(f"POST {PROFILES}/{{name}}/revisions", "rules", "Send the rules, or null for no filter"),
    Meaning(INSPECT, "profile", "Name the profile"),
]
# Of the formats of other sandboxes (api/compatible), whose answers have forms of their own: what they say somewhere.
MEANINGS_OF_FORMATS = re.compile(
    # Names what there is not.
    "runtime is unknown|doesn't exist|There is no language|Unsupported language|was not found|invalid fields"
    # Is none of the texts that a schema cannot describe.
    "|[Nn]ot base64|is not hex|is not a number|No closing quotation|No escaped character|Null characters"
    "|surrogate|contains NUL|is not UTF-8|can't be blank"
    # Does not go together, or is above a limit.
    "|The path |is the path of the program|is both a file and a folder|is the path of the code|given twice"
    "|is above the |cannot exceed|The compiler has|must be greater than|must be less than|Cells have no time limit"
    "|should be a number greater than 0|at least one submission"
    "|Only python3|No files provided|option cannot be enabled|needs an id",
)
# What is known to all of them.
KNOWN = {"language": "python", "lang": "py", "language_id": 71, "version": "*"}
# Of POST /run, whose answers have RAGFlow's form.
NOT_UTF8 = "The decoded program is not UTF-8"


def is_semantic(endpoint: str, problem: dict[str, Any]) -> bool:
    if isinstance(problem["detail"], list):
        return endpoint == "POST /run" and NOT_UTF8 in problem["detail"][0]["msg"]
    return any(meaning.covers(endpoint, problem) for meaning in MEANINGS)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False for what is none."""
    if isinstance(failure, UndefinedStatusCode) and response.status_code == 414:
        return False  # the web server's answer to an endless query of any endpoint
    if isinstance(failure, RejectedPositiveData) and formats.at(case.operation.path):
        return not MEANINGS_OF_FORMATS.search(response.text)
    if isinstance(failure, RejectedPositiveData) and response.status_code == 422:
        return not is_semantic(case.operation.label, response.json())
    # A request that before_call changes gets the token after all.
    return not (isinstance(failure, MissingHeaderNotRejected) and failure.header_name in response.request.headers)


def run_on_known(form: Any) -> None:
    """A random name is no runtime's, and nothing would ever run."""
    if isinstance(form, dict):
        name = form.get("runtime")
        if isinstance(name, str) and SLUG.fullmatch(name):
            form["runtime"] = (*RUNTIMES, name)[zlib.crc32(name.encode()) % 4]


def fitting_runtime(form: dict[str, Any], number: int) -> None:
    """What names something names what there is, what must be new is new, and its fields go together."""
    form |= {"seccomp_profile": "unconfined"} if "seccomp_profile" in form else {}
    # Disabled, because no keeper can start sandboxes of an image with a random name.
    form |= {"slug": f"r{number}", "enabled": False} if "slug" in form else {}
    form |= {"aliases": [f"a{number}"]} if form.get("aliases") else {}
    if any(name in form for name in ("runner", *COMMANDS)):
        given = form.get("runner", "native"), form.get("modes", ["script"])
        form |= {"runner": given[0], "modes": given[1]} | dict(zip(COMMANDS, RUNNERS[given[0]], strict=True))
        if given[0] == "shell":
            form["modes"] = ["script"]
    if "memory_bytes" in (limits := form.get("limits") or {}):
        form["limits"] = limits | {"workspace_bytes": 2**20, "tmp_bytes": 2**20}


def fitting_profile(form: dict[str, Any], number: int) -> None:
    """New, and one that the runner can live under."""
    form |= {"name": f"p{number}"} if "name" in form else {}
    for name in ("parent", "allow", "deny"):
        form.pop(name, None)
    if form.get("rules"):
        form["rules"] = form["rules"] | {"defaultAction": "SCMP_ACT_ALLOW"}


def listed(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def fit(case: Any) -> None:
    """So that more than their refusal is seen of three in four."""
    number = next(NUMBERS)
    if number % 4 == 0:
        return
    if formats.at(case.operation.path):
        for form in (case.body, *listed(case.body.get("submissions"))):
            form |= {name: value for name, value in KNOWN.items() if name in form}
    if case.method == "PATCH":
        # What there is; under another name it would not be found again.
        name = next(iter(CHANGED.keys() & case.path_parameters.keys()))
        case.path_parameters[name] = CHANGED[name]
        case.body.pop(name, None)
    if re.fullmatch(RUNTIME, case.operation.label):
        fitting_runtime(case.body, number)
    elif re.fullmatch(PROFILE, case.operation.label):
        fitting_profile(case.body, number)


def warm_few(form: dict[str, Any]) -> None:
    """Two hundred warm sandboxes are more than the machine of a test can hold."""
    for name in ("pool_min", "pool_max"):
        if type(form.get(name)) is int and 0 <= form[name] <= 200:
            form[name] = min(form[name], MOST_WARM)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if isinstance(case.body, dict):
        case.body = body = copy.deepcopy(case.body)
        batch = body.get("executions")
        for form in (body, body.get("execution"), *(batch if isinstance(batch, list) else ())):
            run_on_known(form)
        if case.meta and case.meta.generation.mode.is_positive:
            fit(case)
        warm_few(body)
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and SLUG.fullmatch(key):
        # Many requests under one key are conflicts; now and then that is what is to be seen.
        case.headers[KEY] = key if (number := next(NUMBERS)) % 4 == 0 else f"{key}-{number}"
