"""OpenAPI links: use values of one operation's response as parameters of another operation.

Generated clients follow the links. So does the schema test that walks from one endpoint to the next.
"""

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
        "explain_syscalls",
    )
    return Link(source, {"execution_id": f"$response.body#/{execution_id}"}, targets)


OF_RUNTIME = ("get_runtime_manifest", "list_builds", "start_build")
OF_BUILD = ("get_build", "cancel_build", "activate_build")
OF_PROFILE = ("list_seccomp_revisions", "add_seccomp_revision", "diff_seccomp_revisions")
OF_REVISION = ("get_seccomp_revision", "activate_seccomp_revision", "export_seccomp_revision")
OF_INSPECTION = ("get_seccomp_inspection", "cancel_seccomp_inspection", "save_learnt_seccomp_profile")
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
    # No link from add_runtime: a new runtime has no description yet.
    Link(
        "list_runtimes",
        {"slug": "$response.body#/0/slug"},
        ("get_runtime", "get_runtime_description", *OF_RUNTIME),
    ),
    Link(
        "add_runtime",
        {"slug": "$response.body#/slug"},
        ("get_runtime", *OF_RUNTIME, "change_runtime", "delete_runtime"),
    ),
    Link("start_build", {"slug": "$request.path.slug", "number": "$response.body#/number"}, OF_BUILD),
    Link("list_builds", {"slug": "$request.path.slug", "number": "$response.body#/0/number"}, OF_BUILD),
    Link("list_seccomp_profiles", {"name": "$response.body#/0/name"}, ("get_seccomp_profile", *OF_PROFILE)),
    Link(
        "add_seccomp_profile",
        {"name": "$response.body#/name"},
        ("get_seccomp_profile", *OF_PROFILE, "change_seccomp_profile", "delete_seccomp_profile"),
    ),
    Link(
        "add_seccomp_revision",
        {"name": "$response.body#/profile", "number": "$response.body#/number"},
        OF_REVISION,
    ),
    Link(
        "list_seccomp_revisions",
        {"name": "$response.body#/0/profile", "number": "$response.body#/0/number"},
        OF_REVISION,
    ),
    Link("request_seccomp_inspection", {"number": "$response.body#/id"}, OF_INSPECTION),
    Link("explain_syscalls", {"number": "$response.body#/id"}, OF_INSPECTION),
    Link("list_seccomp_inspections", {"number": "$response.body#/0/id"}, OF_INSPECTION),
)


def add_links(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add LINKS to the schema. A postprocessing hook of drf-spectacular."""
    operations = {
        operation["operationId"]: operation
        for methods in result["paths"].values()
        for operation in methods.values()
    }
    for link in LINKS:
        source = operations.get(link.source, {"responses": {}})  # the schema may cover only some views
        for status, answer in source["responses"].items():
            if status in SUCCESSES:
                answer.setdefault("links", {}).update(
                    {target: {"operationId": target, "parameters": link.parameters} for target in link.targets}
                )
    return result
