"""Prove a new image in real sandboxes: run the runtime's smoke programs, and import the packages."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from builds.record import BuildFailed, Record
from executions import programs
from executions.verdict import Verdict, decide
from runtimes.models import Limits, Runtime
from runtimes.packages import name_of
from sandboxes import pool
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Engine
from sandboxes.protocol import BYE
from sandboxes.session import EndedBy, Report
from sandboxes.sessions import session_of, state_of

# The first import of a large package is slow under gVisor, so the limits of runs do not apply to it.
IMPORT_MS = 60_000
IMPORT_PYTHON = """
import importlib, importlib.metadata, sys, traceback
name = sys.argv[1]
files = importlib.metadata.distribution(name).files or []
tops = {f.parts[0].split(".")[0] for f in files if f.suffix in (".py", ".so") and ".." not in f.parts}
tops = sorted(top for top in tops if top.isidentifier())
failed = 0
for top in tops:
    try:
        importlib.import_module(top)
    except Exception:
        failed += 1
        traceback.print_exc()
sys.exit(bool(tops) and failed == len(tops))
"""
IMPORT_NODE = """
const name = process.argv[2];
try { require(name); process.exit(0); } catch (e) {
    if (name.startsWith("@types/")) process.exit(0);
    import(name).then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
}
"""
IMPORTS = {"pip": ((".py",), IMPORT_PYTHON), "npm": ((".js", ".mjs", ".cjs"), IMPORT_NODE)}


def probe(
    engine: Engine, runtime: Runtime, image_id: str, packages: Mapping[str, list[str]], record: Record
) -> None:
    """Prove the image. Raises BuildFailed for the first program that does not end as expected, and EngineError."""
    tried = [*runtime.smoke, *imports(runtime, packages)]
    if not tried:
        record.step("probe: starting")
        _run(engine, runtime, image_id, None)
    for program in tried:
        record.step(f"probe: {program['name']}")
        report, verdict = _run(engine, runtime, image_id, program)
        if wrong := programs.disagreements(program, report, verdict):
            complaint = report.stderr.decode(errors="replace").strip().splitlines()
            for line in complaint[-20:]:
                record.line(line)
            raise BuildFailed(f"Probe {program['name']}: {'; '.join([*wrong, *complaint[-1:]])}")


def imports(runtime: Runtime, packages: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"import {name_of(ecosystem, package)}",
            "code": code,
            "argv": [name_of(ecosystem, package)],
            "expect": {"status": "succeeded"},
            "patience_ms": IMPORT_MS,
        }
        for ecosystem, (suffixes, code) in IMPORTS.items()
        if runtime.source_file.endswith(suffixes)
        for package in packages[ecosystem]
    ]


def _run(
    engine: Engine, runtime: Runtime, image_id: str, program: Mapping[str, Any] | None
) -> tuple[Report, Verdict] | Any:
    limits = limits_of(runtime, program or {})
    present = SandboxConfiguration.of_runtime(runtime, runtime.network)
    sandbox = pool.start(engine, replace(present, image=image_id, limits=limits), held=True)
    try:
        if program is None:
            return None
        with closing(engine.attach(sandbox.container_id)) as channel:
            session = session_of(runtime, channel, sandbox.container_id, limits)
            report = session.run(programs.job_of(program, runtime, limits))
            verdict = decide(report, state_of(engine, sandbox.container_id, report), limits)
            if report.ended_by is EndedBy.RUNNER:
                channel.send(BYE)
            return report, verdict
    finally:
        pool.retire(sandbox)


def limits_of(runtime: Runtime, program: Mapping[str, Any]) -> Limits:
    limits = runtime.limits.lowered_to({"wall_time_ms": IMPORT_MS} | program.get("limits", {}))
    if patience_ms := program.get("patience_ms"):
        limits = replace(limits, wall_time_ms=patience_ms, cpu_time_ms=patience_ms)
    return limits
