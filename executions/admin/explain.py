"""Explains an execution's outcome to the developer of its caller, with remedies."""

from dataclasses import dataclass, field

from executions import sources
from executions.limits import ceiling
from executions.models import Execution, Outcome, Status
from executions.sources import refused_calls
from runtimes.models import Network
from sandbox_platform.kit.units import exact_of, format_bytes, format_ms
from seccomp_profiles.models import UNCONFINED


@dataclass(frozen=True)
class Explanation:
    what: str
    remedies: list[str] = field(default_factory=list)
    whose: str = ""


PROGRAM, LIMIT, CALLER, PLATFORM = "The program", "A limit", "The caller", "The platform"
ADMINISTRATOR = "An administrator"
MISSING_MODULE = ("ModuleNotFoundError", "Cannot find module", "ERR_MODULE_NOT_FOUND")
NO_NETWORK = ("Network is unreachable", "Temporary failure in name resolution", "ENETUNREACH", "EAI_AGAIN")
MOST_HOSTS = 3
# CPU time as a share of the wall time: below the one, the program mostly waited; from the other on, it computed.
IDLE, BUSY = 0.25, 0.75
READ_ONLY = ("Read-only file system", "EROFS")
NOT_PERMITTED = ("Operation not permitted", "EPERM")


def explain(execution: Execution) -> Explanation | None:
    """Return the explanation, or None for an execution that has not ended or has succeeded."""
    limits = execution.limits
    match execution.outcome:
        case "" | Outcome.COMPLETED:
            return None
        case Outcome.NONZERO_EXIT:
            return Explanation(
                f"The program ended by itself with exit status {execution.exit_code}.", _hints(execution), PROGRAM
            )
        case Outcome.COMPILE_FAILED:
            return Explanation(
                "The program could not be compiled, so it never ran.",
                ["Standard error holds the compiler's messages. The first error often causes the others."],
                PROGRAM,
            )
        case Outcome.COMPILE_TIME:
            return Explanation(
                f"The compiler reached the runtime's limit of {_ms(limits.get('compile_wall_ms'))}, "
                "so the program never ran.",
                [
                    "Make the program smaller, or use fewer templates and dependencies.",
                    "An administrator can raise the runtime's limit on compilation.",
                ],
                LIMIT,
            )
        case Outcome.SIGNALLED:
            return Explanation(
                f"Signal {execution.signal} killed the program. The program or its runtime caused the signal.",
                ["Signal 11 means a crash in native code, 6 an abort, 9 a kill from inside the sandbox."],
                PROGRAM,
            )
        case Outcome.RESULT_INVALID:
            return Explanation(
                "main() returned a value that is not valid JSON, or whose JSON is larger than "
                f"{_bytes(limits.get('result_bytes'))}.",
                ["Return only numbers, strings, lists and dicts.", "Write large data to ./artifacts instead."],
                PROGRAM,
            )
        case Outcome.WALL_TIME:
            return Explanation(
                f"The run reached its wall time limit of {_ms(limits.get('wall_time_ms'))}, and the host ended it.",
                [*_refused_hosts(execution), _cpu_use(execution), _more(execution, "wall_time_ms")],
                LIMIT,
            )
        case Outcome.CPU_TIME:
            return Explanation(
                "The program and its child processes used more than the run's limit of "
                f"{_ms(limits.get('cpu_time_ms'))} of CPU time.",
                ["Look for an endless loop.", _more(execution, "cpu_time_ms")],
                LIMIT,
            )
        case Outcome.MEMORY:
            return Explanation(
                f"The sandbox needed more memory than its limit of {_bytes(limits.get('memory_bytes'))}, "
                "and the host's kernel killed it.",
                ["Files in /workspace and /tmp are held in memory and count too.",
                 "Read large inputs in pieces.",
                 _more(execution, "memory_bytes")],
                LIMIT,
            )  # fmt: skip
        case Outcome.STDOUT | Outcome.STDERR:
            return Explanation(
                f"The program wrote more than the run's limit of {_bytes(limits.get('output_bytes'))} "
                f"to {execution.outcome}.",
                [
                    "Print less.",
                    "Write data to ./artifacts instead.",
                    _more(execution, "output_bytes"),
                    "An administrator can make the runtime truncate output instead of ending the run.",
                ],
                LIMIT,
            )
        case Outcome.CODE_POLICY:
            return Explanation(
                "The code policy rejected the program before it ran. The violated rules are listed below.",
                [
                    "Change the listed lines.",
                    "An administrator can set the runtime's code policy to warn, or disable single rules.",
                ],
                CALLER,
            )
        case Outcome.RUNTIME_DISABLED:
            return Explanation(
                "The runtime is disabled, so the program never ran.",
                ["Use another runtime.", "An administrator can enable this one."],
                ADMINISTRATOR,
            )
        case Outcome.CALLER_GONE:
            return Explanation(
                "The caller disconnected before the end, so the run was cancelled.",
                ["Let the caller wait longer than the run's limit, or submit without waiting."],
                CALLER,
            )
        case Outcome.CANCEL_REQUESTED:
            who = sources.cancelled_by(execution.pk)
            return Explanation(f"Cancelled by {who}." if who else "Cancelled on request.", [], CALLER)
        case Outcome.QUEUE_TIMEOUT:
            return Explanation(
                "No worker was free in time: all workers were busy, or none is running.",
                [
                    "Look at the pages Queue and Doctor.",
                    "An administrator can raise SANDBOX_WORKERS, or add a node.",
                ],
                PLATFORM,
            )
    return Explanation(
        "The platform failed, not the program.",
        [
            execution.message or "The page Doctor shows what is broken.",
            "Retry. The program may have run in part before the failure."
            if execution.may_have_started
            else "Retry. The program never ran.",
        ],
        PLATFORM,
    )


def _cpu_use(execution: Execution) -> str:
    """Return how much of its time the program computed, and what follows."""
    cpu, run = execution.cpu_ms, execution.run_ms
    if cpu is None or not run:
        return "Make the program do less, or request more time."
    used = f"The program used {format_ms(cpu)} of CPU time in {format_ms(run)}."
    if cpu < run * IDLE:
        return f"{used} It probably waited for input, a lock, or a network that it lacks."
    if cpu < run * BUSY:
        return f"{used} It computed for a part of the time and waited for the rest."
    return f"{used} Make it do less, or request more time."


def _more(execution: Execution, field: str) -> str:
    """Return whose the run's limit is, and who can raise it."""
    limit, (most, whose) = execution.limits.get(field), ceiling(execution.runtime, execution.client, field)
    if isinstance(limit, int) and limit < most:
        return f"The limit was this run's own. A request may ask for up to {exact_of(field, most)}, {whose}."
    if limit == most:
        return f"The run had {whose}. An administrator can raise it."
    return f"A request may ask for up to {exact_of(field, most)} today, {whose}. An administrator can raise it."


def _hints(execution: Execution) -> list[str]:
    """Return likely causes, guessed from the end of standard error and worded as guesses."""
    tail = execution.stderr[-4000:]
    found = []
    if any(sign in tail for sign in MISSING_MODULE):
        found.append("The program seems to need a package that the runtime lacks. An administrator can add it.")
    found += _refused_hosts(execution)
    if not found and any(sign in tail for sign in NO_NETWORK):
        found.append(
            "The program seems to bypass the proxy. Only HTTP and HTTPS through the proxy work, and the proxy resolves "
            "names."
            if execution.network == Network.EGRESS
            else "The program seems to need the network, but the runtime or the client has no egress."
        )
    if any(sign in tail for sign in READ_ONLY):
        found.append("The program seems to write outside /workspace and /tmp, where the file system is read-only.")
    if any(sign in tail for sign in NOT_PERMITTED) and execution.profile_name not in ("", UNCONFINED):
        found.append(_about_profile(execution))
    if execution.status == Status.FAILED and not execution.stderr:
        found.append(
            "The program wrote nothing to standard error, which is typical of sys.exit() and process.exit()."
        )
    return found or ["See the end of standard error."]


def _about_profile(execution: Execution) -> str:
    """Return what a finished trace found, or a guess without one."""
    profile = f"The seccomp profile {execution.profile_name}"
    trace = refused_calls(execution)
    if trace is None or trace.refused is None:
        return f"{profile} may have refused a system call."
    if names := ", ".join(str(call["name"]) for call in trace.refused):
        return f"{profile} refused {names}, as a trace found."
    return f"{profile} refused no system call, as a trace found: gVisor, or the permissions of a file, refused it."


def _refused_hosts(execution: Execution) -> list[str]:
    """Return a sentence for each host and reason of the program's refused requests, MOST_HOSTS at most."""
    if execution.network == Network.NONE:
        return []
    refused = execution.egress_requests.filter(allowed=False).order_by("id")
    reasons = dict.fromkeys(
        (request.host, request.port, request.get_reason_display()) for request in refused[:100]
    )
    return [f"The request to {host}:{port} was refused: {why}." for host, port, why in list(reasons)[:MOST_HOSTS]]


def _ms(value: object) -> str:
    return format_ms(value) if isinstance(value, int | float) else "an unknown time"


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int | float) else "an unknown size"
