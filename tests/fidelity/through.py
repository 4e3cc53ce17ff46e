"""The platform's side: the real runner in a fresh sandbox for each case, driven frame by frame."""

import json
from typing import Any

from runtimes.manifests import Manifest
from runtimes.models import Runtime
from sandboxes.engine import Engine, SandboxSpec
from sandboxes.protocol import Job
from tests.fidelity.cases import EMPTY_MAIN, Case
from tests.fidelity.limits import LIMITS
from tests.fidelity.outcome import Outcome
from tests.sandboxes.guest import Seen, guest


def run(engine: Engine, image: str, case: Case, way: str) -> Outcome:
    spec = SandboxSpec(
        image=image,
        limits=LIMITS,
        environment=case.manifest.fields.get("environment", {}),
        runner_config=runner_config(case.manifest, way),
    )
    with guest(engine, spec) as sandbox:
        try:
            return _outcome(sandbox.run(job(case, way)))
        except TimeoutError:
            return Outcome(timed_out=True)


def _outcome(seen: Seen) -> Outcome:
    if seen.end is None:
        return Outcome(stdout=seen.stdout, stderr=seen.stderr + seen.complaint.encode(), lost=True)
    return Outcome(
        exit_code=seen.end.exit_code,
        signal=seen.end.signal,
        stdout=seen.stdout,
        stderr=seen.stderr,
        files=seen.artifacts,
        result=seen.result,
        cold=seen.end.cold,
        dropped=tuple(f"{name} ({reason})" for name, reason in seen.end.dropped),
        frames=len(seen.kinds),
    )


def runner_config(manifest: Manifest, way: str) -> dict[str, Any]:
    row = Runtime(**manifest.fields)
    # What a worker loads when it is idle is loaded before the runner's hello: it needs no waiting then.
    preload = [*row.preload, *(row.preload_when_idle if way == "warm" else [])]
    config: dict[str, Any] = {"preload": preload, "preload_when_idle": []}
    return config | ({"commands": row.commands} if row.commands else {})


def job(case: Case, way: str) -> Job:
    code = case.program
    if way == "function" and case.call is None:
        code += EMPTY_MAIN[case.runtime]
    return Job(
        mode="function" if way == "function" else "script",
        code=code,
        source_file=case.source,
        arguments=json.dumps(case.call or {}),
        stdin=case.stdin * case.stdin_times,
        argv=list(case.argv),
        environment={**case.environment, **(read_at_start(case) if way == "cold" else {})},
        output_bytes=LIMITS.output_bytes,
        output_action=LIMITS.output_action,
        result_bytes=LIMITS.result_bytes,
        artifact_count=LIMITS.artifact_count,
        artifact_bytes=LIMITS.artifact_bytes,
        artifact_suffixes=None,
        files=case.files_base64,
    )


def read_at_start(case: Case) -> dict[str, str]:
    """Return a variable without effect for which the runner must start another interpreter."""
    worker = json.loads((case.manifest.path.parent / "worker.json").read_text(encoding="utf-8"))
    return {f"{worker['read_at_start'][0]}FIDELITY": "1"}
