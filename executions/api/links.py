"""OpenAPI links: which answer's values are the parameters of which other operation. Generated clients follow them,
and so does the test that walks from one endpoint to the next."""

from dataclasses import dataclass
from typing import Any

SUCCESSES = ("200", "201", "202")


@dataclass(frozen=True)
class Link:
    source: str
    parameters: dict[str, str]
    targets: tuple[str, ...]


def _to_execution(source: str, execution_id: str) -> Link:
    targets = (
        "get_execution",
        "cancel_execution",
        "rerun_execution",
        "watch_execution",
        "list_artifacts",
        "list_requests",
    )
    return Link(source, {"execution_id": f"$response.body#/{execution_id}"}, targets)


LINKS = (
    _to_execution("submit_execution", "id"),
    _to_execution("cancel_execution", "id"),
    _to_execution("rerun_execution", "execution/id"),
    _to_execution("list_executions", "results/0/id"),
    _to_execution("get_batch", "executions/0/id"),
    Link("submit_batch", {"batch_id": "$response.body#/id"}, ("get_batch",)),
    Link(
        "list_artifacts",
        {"execution_id": "$request.path.execution_id", "name": "$response.body#/0/name"},
        ("get_artifact",),
    ),
    Link("list_runtimes", {"slug": "$response.body#/0/slug"}, ("get_runtime",)),
    Link("add_runtime", {"slug": "$response.body#/slug"}, ("get_runtime", "change_runtime", "delete_runtime")),
    Link("list_seccomp_profiles", {"name": "$response.body#/0/name"}, ("get_seccomp_profile",)),
    Link(
        "add_seccomp_profile",
        {"name": "$response.body#/name"},
        ("get_seccomp_profile", "change_seccomp_profile", "delete_seccomp_profile"),
    ),
)


def add_links(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """One of drf-spectacular's hooks."""
    operations = {
        operation["operationId"]: operation
        for methods in result["paths"].values()
        for operation in methods.values()
    }
    for link in LINKS:
        source = operations.get(link.source, {"responses": {}})  # a schema may be of some of our views only
        for status, answer in source["responses"].items():
            if status in SUCCESSES:
                answer.setdefault("links", {}).update(
                    {target: {"operationId": target, "parameters": link.parameters} for target in link.targets}
                )
    return result
