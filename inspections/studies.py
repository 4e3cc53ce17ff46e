"""What each kind of inspection looks at: rows and requests on one side, sandboxes on the other."""

import hashlib
from collections.abc import Callable
from typing import Any

from executions import tasks
from executions.models import Execution
from executions.programs import job_of
from inspections import explaining, learning, probing, replaying
from inspections.laboratory import Laboratory
from inspections.learning import Sample
from inspections.models import Inspection, InspectionKind, InspectionVerdict
from inspections.replaying import TELLING, Replayed
from runtimes import smoke
from runtimes.models import Limits, Runtime
from sandboxes.engine import Engine, EngineError
from sandboxes.pool import Configuration, Own, profile_of

Result = tuple[InspectionVerdict | str, dict[str, Any]]
MOST_EXECUTIONS = 100


def probe(engine: Engine, inspection: Inspection) -> Result:
    laboratory = of_runtime(engine, inspection)
    rules = inspection.revision.effective if inspection.revision else None
    return probing.probe(laboratory, rules, smoke_of(laboratory.runtime))


def learn(engine: Engine, inspection: Inspection) -> Result:
    laboratory = of_runtime(engine, inspection)
    samples = samples_of(laboratory, inspection)
    if not samples:
        lacks = "executions to run again" if asked(inspection, "last") else "smoke programs that end well"
        raise EngineError(f"there is nothing to learn from: the runtime has no {lacks}. Send programs.")
    base = inspection.revision
    name = str(base) if base else "no filter"
    return "", learning.learn(laboratory, samples, base.effective if base else None, name)


def trace(engine: Engine, inspection: Inspection) -> Result:
    execution = the_execution(inspection)
    profile = tasks.pinned_profile(execution)
    limits = Limits(**execution.limits)
    own = Own(execution.image_id, limits, execution.environment, execution.runtime_revision, profile)
    laboratory = noted(Laboratory.of(engine, inspection, Configuration(execution.runtime, own)))
    job = tasks.job_of(execution, limits)
    return "", explaining.explain(laboratory, execution, job, profile.effective if profile else None)


def replay(engine: Engine, inspection: Inspection) -> Result:
    laboratory = of_runtime(engine, inspection)
    draft = inspection.revision.effective if inspection.revision else None
    current = profile_of(laboratory.runtime)
    executions = latest(laboratory.runtime, asked(inspection, "last"))
    programs = [replayed(laboratory, execution) for execution in executions]
    return "", replaying.replay(programs, draft, current.effective if current else None)


STUDIES: dict[InspectionKind, Callable[[Engine, Inspection], Result]] = {
    InspectionKind.PROBE: probe,
    InspectionKind.LEARN: learn,
    InspectionKind.TRACE: trace,
    InspectionKind.REPLAY: replay,
}


def of_runtime(engine: Engine, inspection: Inspection) -> Laboratory:
    """On the runtime as it is today."""
    rows = Runtime.objects.select_related("seccomp_profile__active")
    runtime = rows.filter(pk=inspection.runtime_id or 0).first()
    if runtime is None:
        raise EngineError("the runtime was deleted")
    return noted(Laboratory.of(engine, inspection, Configuration(runtime)))


def noted(laboratory: Laboratory) -> Laboratory:
    """Written on the inspection: on what it was made."""
    inspection = laboratory.inspection
    inspection.runsc_version = laboratory.engine.version()
    inspection.image_id = laboratory.spec.image
    inspection.runtime_revision = laboratory.runtime.revision
    return laboratory


def asked(inspection: Inspection, name: str, otherwise: Any = 0) -> Any:
    return inspection.details.get("request", {}).get(name, otherwise)


def smoke_of(runtime: Runtime) -> list[dict[str, Any]]:
    """The smoke programs of the row that end well."""
    return [program for program in runtime.smoke if smoke.succeeds(program)]


def samples_of(laboratory: Laboratory, inspection: Inspection) -> list[Sample]:
    """The programs that were sent, an execution, the last ones of the runtime, or the runtime's own."""
    runtime, limits = laboratory.runtime, laboratory.limits
    if programs := asked(inspection, "programs", []):
        return [Sample(sent["name"], job_of(sent, runtime, limits)) for sent in programs]
    if inspection.execution_id:
        executions = [the_execution(inspection)]
    elif last := asked(inspection, "last"):
        executions = latest(runtime, last)
    else:
        own = smoke_of(runtime)
        wanted = [program for program in own if smoke.is_pure(program)] if asked(inspection, "pure") else own
        return [Sample(program["name"], job_of(program, runtime, limits)) for program in wanted]
    return [
        Sample(str(execution.pk), tasks.job_of(execution, limits.lowered_to(execution.limits)))
        for execution in executions
    ]


def latest(runtime: Runtime, number: int) -> list[Execution]:
    """The last ones that say something about their programs, and whose programs are stored as they were."""
    told = Execution.objects.filter(runtime=runtime, outcome__in=TELLING).order_by("-id")
    found: list[Execution] = []
    for execution in told.select_related("runtime")[: 2 * min(number, MOST_EXECUTIONS)]:
        if is_unchanged(execution) and len(found) < number:
            found.append(execution)
    return found


def is_unchanged(execution: Execution) -> bool:
    return hashlib.sha256(execution.code.encode()).hexdigest() == execution.code_sha256


def the_execution(inspection: Inspection) -> Execution:
    """Raises EngineError if it cannot be run as it was."""
    found = Execution.objects.select_related("runtime").filter(pk=str(inspection.execution_id)).first()
    if found is None:
        raise EngineError("the execution was purged")
    check_unchanged(found)
    return found


def check_unchanged(execution: Execution) -> None:
    """Raises EngineError."""
    if not is_unchanged(execution):
        raise EngineError("the program is not stored as it was: it was redacted, purged, or is not text")
    if execution.limits.keys() != Limits.__dataclass_fields__.keys():
        raise EngineError("the platform has other limits today")


def replayed(laboratory: Laboratory, execution: Execution) -> Replayed:
    limits = laboratory.limits.lowered_to(execution.limits)
    return Replayed(execution, laboratory.under(limits), tasks.job_of(execution, limits))
