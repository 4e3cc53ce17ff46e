"""The tools as models read them: names, descriptions and schemas. Every conversation has the list, so few words.

Their arguments are fields of the forms of /api/v1, which check them; but `runtime` is `language` here, because
LangChain's adapter takes an argument of the former name for its own. calls.py has what they do.
"""

from typing import Any

from django.conf import settings

from clients.admission import usable
from clients.auth import AnonymousCaller
from clients.models import Client
from clients.network import has_egress
from executions.models import Status
from runtimes.models import ADJUSTABLE

RUN_CODE = "run_code"
LIST_RUNTIMES = "list_runtimes"
GET_RUN = "get_run"
SEARCH_RUNS = "search_runs"
LANGUAGE, RUNTIME = "language", "runtime"

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
WAIT = {"type": "number", "minimum": 0, "maximum": settings.LONGEST_RUN_S}
READS = {"readOnlyHint": True, "openWorldHint": False}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


FILE = _object({"name": TEXT, "size": COUNT, "content_type": TEXT, "url": TEXT}, "name", "url")
RUN = _object(
    {
        "id": TEXT,
        "status": TEXT,
        "outcome": TEXT,
        "message": TEXT,
        "language": TEXT,
        "mode": TEXT,
        "exit_code": {"type": "integer"},
        "signal": {"type": "integer"},
        "stdout": TEXT,
        "stderr": TEXT,
        "stdout_length": COUNT,
        "stderr_length": COUNT,
        "result": {},
        "files": {"type": "array", "items": FILE},
        "queued_at": TEXT,
        "duration_ms": {"type": "number"},
        "peak_memory_bytes": COUNT,
        "labels": TEXTS,
        "code": TEXT,
        "code_length": COUNT,
        "result_length": COUNT,
    },
    "id",
    "status",
)
LISTED = _object(
    {"slug": TEXT, "name": TEXT, "limits": {"type": "object"}, "packages": {"type": "object"}}, "slug"
)
RUNTIMES = _object({"runtimes": {"type": "array", "items": LISTED}}, "runtimes")
FOUND = _object({"id": TEXT, "status": TEXT, "language": TEXT, "queued_at": TEXT}, "id", "status")
RUNS = _object({"runs": {"type": "array", "items": FOUND}, "cursor": TEXT}, "runs")


def _run_code(slugs: list[str], online: list[str]) -> dict[str, Any]:
    """Return the tool for these runtimes, of which `online` have egress."""
    reach = f"without network, but with allowed hosts in {', '.join(online)}," if online else "without network"
    file = _object({"path": TEXT, "content": TEXT, "content_base64": TEXT}, "path")
    return {
        "name": RUN_CODE,
        "title": "Run code",
        "description": f"Run a program in a fresh sandbox {reach} and return its output. Nothing is kept "
        "between runs. Files written to ./artifacts come back; images are shown. A program that fails is a normal "
        'result: read status, exit_code and stderr. Example: {"language": "python", "code": "print(6*7)"}',
        "inputSchema": _object(
            {
                "language": {"type": "string", "enum": slugs},
                "code": {"type": "string", "description": "The program."},
                "mode": {
                    "type": "string",
                    "enum": ["script", "function"],
                    "description": "function: main(**arguments) is called and its return value is the result.",
                },
                "arguments": {"type": "object", "description": "Of main()."},
                "stdin": TEXT,
                "argv": {"type": "array", "items": TEXT},
                "files": {"type": "array", "items": file, "description": "Beside the program, e.g. data/in.csv."},
                "entry": {"type": "string", "description": "Path of the program among files, instead of code."},
                "environment": TEXTS,
                "limits": {
                    "type": "object",
                    "properties": dict.fromkeys(ADJUSTABLE, COUNT),
                    "description": "Lower than the runtime's.",
                },
                "labels": TEXTS,
                "wait": WAIT | {"description": "Seconds, then return the id for get_run. Default: until the end."},
            },
            "language",
        ),
        "outputSchema": RUN,
        "annotations": {"readOnlyHint": False, "destructiveHint": bool(online), "openWorldHint": bool(online)},
    }


READING: list[dict[str, Any]] = [
    {
        "name": LIST_RUNTIMES,
        "title": "List runtimes",
        "description": "Languages that run_code offers, with limits. With language: its installed packages, too. "
        'Example: {"language": "python"}',
        "inputSchema": _object({"language": TEXT}),
        "outputSchema": RUNTIMES,
        "annotations": READS,
    },
    {
        "name": GET_RUN,
        "title": "Get a run",
        "description": "A run with its program, output and files. Long output is cut in the middle: offset skips "
        'characters. Example: {"id": "0199...", "wait": 10}',
        "inputSchema": _object(
            {
                "id": TEXT,
                "wait": WAIT | {"description": "Seconds, for a run that has not ended."},
                "offset": COUNT,
            },
            "id",
        ),
        "outputSchema": RUN,
        "annotations": READS,
    },
    {
        "name": SEARCH_RUNS,
        "title": "Search runs",
        "description": "Past runs, newest first. q searches words in code and output. "
        'Example: {"q": "ValueError", "status": "failed"}',
        "inputSchema": _object(
            {
                "q": TEXT,
                "language": TEXT,
                "status": {"type": "string", "enum": list(Status.values)},
                "label": {"type": "array", "items": TEXT, "description": "name:value"},
                "queued_after": {"type": "string", "format": "date-time"},
                "queued_before": {"type": "string", "format": "date-time"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                "cursor": TEXT,
            }
        ),
        "outputSchema": RUNS,
        "annotations": READS,
    },
]
NAMES = (RUN_CODE, *(tool["name"] for tool in READING))


def offered(caller: Client | AnonymousCaller) -> list[dict[str, Any]]:
    """Return the tools that the caller's role may use, with the runtimes that it may use."""
    if not caller.may_run:
        return READING
    client = caller if isinstance(caller, Client) else None
    runtimes = usable(client)
    online = [runtime.slug for runtime in runtimes if has_egress(runtime, client)]
    return [_run_code([runtime.slug for runtime in runtimes], online), *READING]
