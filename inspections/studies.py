"""Carry out each kind of inspection: read the rows and the request, run the sandboxes, return verdict and details."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet

from executions import tasks
from executions.configuration import RunConfiguration
from executions.models import Execution
from executions.programs import job_of
from inspections import describing, explaining, learning, probing, replaying
from inspections.laboratory import Laboratory
from inspections.learning import Sample
from inspections.models import Inspection, InspectionKind, InspectionVerdict
from inspections.replaying import TELLING, Replayed
from runtimes import smoke
from runtimes.models import Limits, Runtime
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Engine, EngineError

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
        lacks = "executions to run again" if asked(inspection, "last") else "smoke programs that succeed"
        raise EngineError(f"nothing to learn from: the runtime has no {lacks}. Send programs.")
    base = inspection.revision
    name = str(base) if base else "no filter"
    return "", learning.learn(laboratory, samples, base.effective if base else None, name)


def trace(engine: Engine, inspection: Inspection) -> Result:
    execution = the_execution(inspection)
    configuration = RunConfiguration.stored(execution).as_recorded(execution.runtime)
    laboratory = of_configuration(engine, inspection, configuration)
    job = tasks.job_of(execution, configuration.limits)
    rules = configuration.profile.effective if configuration.profile else None
    return "", explaining.explain(laboratory, execution, job, rules)


def replay(engine: Engine, inspection: Inspection) -> Result:
    laboratory = of_runtime(engine, inspection)
    draft = inspection.revision.effective if inspection.revision else None
    executions = latest(affected(inspection, laboratory.runtime), asked(inspection, "last"))
    return "", replaying.replay([replayed(laboratory, execution) for execution in executions], draft)


def describe(engine: Engine, inspection: Inspection) -> Result:
    runtime = the_runtime(inspection)
    laboratory = of_configuration(
        engine, inspection, SandboxConfiguration.of_runtime(describing.described_as(runtime))
    )
    facts = describing.describe(laboratory, runtime)
    return "", {"summary": describing.summary(facts), "facts": facts}


STUDIES: dict[InspectionKind, Callable[[Engine, Inspection], Result]] = {
    InspectionKind.PROBE: probe,
    InspectionKind.LEARN: learn,
    InspectionKind.TRACE: trace,
    InspectionKind.REPLAY: replay,
    InspectionKind.DESCRIBE: describe,
}


def of_runtime(engine: Engine, inspection: Inspection) -> Laboratory:
    """Return a laboratory with the runtime's current configuration. Raises EngineError."""
    return of_configuration(engine, inspection, SandboxConfiguration.of_runtime(the_runtime(inspection)))


def the_runtime(inspection: Inspection) -> Runtime:
    """Return the inspection's runtime. Raises EngineError."""
    rows = Runtime.objects.select_related("seccomp_profile__active")
    runtime = rows.filter(pk=inspection.runtime_id or 0).first()
    if runtime is None:
        raise EngineError("the runtime was deleted")
    return runtime


def of_configuration(engine: Engine, inspection: Inspection, configuration: SandboxConfiguration) -> Laboratory:
    """Return a laboratory, and record gVisor version, image and runtime revision on the inspection."""
    laboratory = Laboratory.of(engine, inspection, configuration)
    inspection.runsc_version = engine.version()
    inspection.image_id = laboratory.spec.image
    inspection.runtime_revision = laboratory.runtime.revision
    return laboratory


def asked(inspection: Inspection, name: str, otherwise: Any = 0) -> Any:
    return inspection.details.get("request", {}).get(name, otherwise)


def smoke_of(runtime: Runtime) -> list[dict[str, Any]]:
    """Return the runtime's smoke programs that are expected to succeed."""
    return [program for program in runtime.smoke if smoke.succeeds(program)]


def samples_of(laboratory: Laboratory, inspection: Inspection) -> list[Sample]:
    """Return the programs to learn from: those sent, an execution, the runtime's latest, or its smoke programs."""
    runtime, limits = laboratory.runtime, laboratory.limits
    if programs := asked(inspection, "programs", []):
        return [sample_of(sent, number, runtime, limits) for number, sent in enumerate(programs, 1)]
    if inspection.execution_id:
        executions = [the_execution(inspection)]
    elif last := asked(inspection, "last"):
        executions = latest(Execution.objects.filter(runtime=runtime), last)
    else:
        own = smoke_of(runtime)
        wanted = [program for program in own if smoke.is_pure(program)] if asked(inspection, "pure") else own
        return [Sample(program["name"], job_of(program, runtime, limits)) for program in wanted]
    return [
        Sample(str(execution.pk), tasks.job_of(execution, limits.lowered_to(execution.limits)))
        for execution in executions
    ]


def sample_of(sent: Any, number: int, runtime: Runtime, limits: Limits) -> Sample:
    """Return a program of a stored request. Raises EngineError if it has no code."""
    name = program_name(sent, number)
    if not isinstance(sent, dict) or not isinstance(sent.get("code"), str):
        raise EngineError(f"{name} has no code. Send it again.")
    return Sample(name, job_of(sent, runtime, limits))


def program_name(sent: Any, number: int) -> str:
    """Return the name of a program of a stored request, which may lack one."""
    return str((isinstance(sent, dict) and sent.get("name")) or f"program {number}")


def affected(inspection: Inspection, runtime: Runtime) -> QuerySet[Execution]:
    """Return the runtime's executions, without those of clients that use another profile."""
    profile = inspection.revision.profile if inspection.revision else None
    own = Q(client__seccomp_profile=None) | Q(client__seccomp_profile=profile)
    return Execution.objects.filter(own, runtime=runtime)


def latest(executions: QuerySet[Execution], number: int) -> list[Execution]:
    """Return up to `number` latest executions that ended by their programs' doing and are stored unchanged."""
    told = executions.filter(outcome__in=TELLING).order_by("-id")
    found: list[Execution] = []
    for execution in told.select_related("runtime", "client")[: 2 * min(number, MOST_EXECUTIONS)]:
        if is_unchanged(execution) and len(found) < number:
            found.append(execution)
    return found


def is_unchanged(execution: Execution) -> bool:
    return hashlib.sha256(execution.code.encode()).hexdigest() == execution.code_sha256


def the_execution(inspection: Inspection) -> Execution:
    """Return the inspection's execution. Raises EngineError if it cannot be run again as it was."""
    found = Execution.objects.select_related("runtime", "client").filter(pk=str(inspection.execution_id)).first()
    if found is None:
        raise EngineError("the execution was purged")
    check_unchanged(found)
    return found


def check_unchanged(execution: Execution) -> None:
    """Raise EngineError if the program is not stored unchanged."""
    if not is_unchanged(execution):
        raise EngineError("the program is not stored unchanged: it was redacted or purged, or is not text")


def present(execution: Execution) -> SandboxConfiguration:
    """Return the configuration from which a worker would start the execution's sandbox now."""
    return RunConfiguration.stored(execution).in_force(execution.runtime, execution.client)


def replayed(laboratory: Laboratory, execution: Execution) -> Replayed:
    configuration = present(execution)
    rules = configuration.profile.effective if configuration.profile else None
    job = tasks.job_of(execution, configuration.limits)
    return Replayed(execution, laboratory.under(configuration.limits), job, rules)
