"""Why an execution ended as it did, in words for whoever builds the agent that sent it."""

from dataclasses import dataclass, field

from executions.models import Execution, Outcome, Status
from runtimes.models import Network
from sandbox_platform.kit.units import format_bytes, format_ms


@dataclass(frozen=True)
class Explanation:
    what: str
    remedies: list[str] = field(default_factory=list)
    whose: str = ""


PROGRAM, LIMIT, CALLER, PLATFORM = "The program", "A limit", "The caller", "The platform"
MISSING_MODULE = ("ModuleNotFoundError", "Cannot find module", "ERR_MODULE_NOT_FOUND")
NO_NETWORK = ("Network is unreachable", "Temporary failure in name resolution", "ENETUNREACH", "EAI_AGAIN")
MOST_HOSTS = 3
READ_ONLY = ("Read-only file system", "EROFS")
NOT_PERMITTED = ("Operation not permitted", "EPERM")


def explain(execution: Execution) -> Explanation | None:
    """None for one that is under way or went well."""
    limits = execution.limits
    match execution.outcome:
        case "" | Outcome.COMPLETED:
            return None
        case Outcome.NONZERO_EXIT:
            return Explanation(
                f"The program ended by itself with exit status {execution.exit_code}.", _seen(execution), PROGRAM
            )
        case Outcome.COMPILE_FAILED:
            return Explanation(
                "The program could not be compiled, so it never ran.",
                ["Standard error has what the compiler says; the first error is often the cause of the others."],
                PROGRAM,
            )
        case Outcome.COMPILE_TIME:
            return Explanation(
                f"The compiler was not done after {_ms(limits.get('compile_wall_ms'))}, so the program never ran.",
                [
                    "Use fewer or smaller dependencies and templates.",
                    "An administrator can raise the runtime's limit.",
                ],
                LIMIT,
            )
        case Outcome.SIGNALLED:
            return Explanation(
                f"The program was killed by signal {execution.signal}, which it or its runtime brought about.",
                ["Signal 11 is a crash in native code, 6 an abort, 9 a kill from inside the sandbox."],
                PROGRAM,
            )
        case Outcome.RESULT_INVALID:
            return Explanation(
                "main() returned something that cannot be sent as JSON, or that is larger than "
                f"{_bytes(limits.get('result_bytes'))}.",
                ["Return numbers, texts, lists and dicts only.", "Write large data to ./artifacts instead."],
                PROGRAM,
            )
        case Outcome.WALL_TIME:
            busy = execution.cpu_ms is not None and execution.run_ms and execution.cpu_ms < execution.run_ms / 4
            idle = (
                "It used little CPU: it waited for something, perhaps input, a lock or a network it has not got."
            )
            return Explanation(
                f"The program ran longer than {_ms(limits.get('wall_time_ms'))} and was ended by the host.",
                [*_refused_hosts(execution),
                 idle if busy else "It was computing all the time: make it do less, or ask for more time.",
                 "More time: the request's limits, up to the runtime's; above that an administrator raises it."],
                LIMIT,
            )  # fmt: skip
        case Outcome.CPU_TIME:
            return Explanation(
                f"The program used more CPU than {_ms(limits.get('cpu_time_ms'))}, all its processes together.",
                ["Look for an endless loop.", "Ask for more CPU time, up to the runtime's limit."],
                LIMIT,
            )
        case Outcome.MEMORY:
            return Explanation(
                f"The sandbox needed more memory than {_bytes(limits.get('memory_bytes'))}; the kernel ended it.",
                ["Files in /workspace and /tmp count too: they live in memory.",
                 "Read large inputs in pieces.", "Ask for more memory, up to the runtime's limit."],
                LIMIT,
            )  # fmt: skip
        case Outcome.STDOUT | Outcome.STDERR:
            return Explanation(
                f"The program wrote more than {_bytes(limits.get('output_bytes'))} to its {execution.outcome}.",
                [
                    "Print less.",
                    "Write data to ./artifacts instead.",
                    "The runtime can cut output instead of ending.",
                ],
                LIMIT,
            )
        case Outcome.CODE_POLICY:
            return Explanation(
                "The code policy refused the program before it ran: see the rules below.",
                [
                    "Change the lines named.",
                    "The runtime's code policy can warn instead of block, or leave rules out.",
                ],
                CALLER,
            )
        case Outcome.RUNTIME_DISABLED:
            return Explanation("The runtime is switched off.", ["An administrator can enable it."], PLATFORM)
        case Outcome.CALLER_GONE:
            return Explanation(
                "Whoever called hung up before the end, so the run was stopped.",
                ["Let the caller wait longer than the run's limit, or use the API without waiting."],
                CALLER,
            )
        case Outcome.CANCEL_REQUESTED:
            return Explanation("Somebody asked to cancel it.", [], CALLER)
        case Outcome.QUEUE_TIMEOUT:
            return Explanation(
                "No worker was free in time: the node is full, or no worker runs.",
                ["See the queue and the doctor.", "Raise SANDBOX_WORKERS, or add a node."],
                PLATFORM,
            )
    return Explanation(
        "The platform failed, not the program.",
        [execution.message or "The doctor's page says what is broken.", "It is safe to run it again."],
        PLATFORM,
    )


def _seen(execution: Execution) -> list[str]:
    """What the end of its standard error suggests. A guess, and said as one."""
    tail = execution.stderr[-4000:]
    found = []
    if any(sign in tail for sign in MISSING_MODULE):
        found.append("It seems to need a package that the runtime has not got: an administrator can add it.")
    found += _refused_hosts(execution)
    if not found and any(sign in tail for sign in NO_NETWORK):
        found.append(
            "It seems to want the network beside its proxy: only HTTP and HTTPS go out, and names are its to find."
            if execution.network == Network.EGRESS
            else "It seems to want the network, which the runtime or the client has not got."
        )
    if any(sign in tail for sign in READ_ONLY):
        found.append("It seems to write outside /workspace and /tmp, where nothing can be written.")
    if any(sign in tail for sign in NOT_PERMITTED) and execution.profile_name:
        found.append(f"The seccomp profile {execution.profile_name} may have refused a system call.")
    if execution.status == Status.FAILED and not execution.stderr:
        found.append("It wrote nothing to standard error: sys.exit() and process.exit() end like this.")
    return found or ["The end of standard error says why."]


def _refused_hosts(execution: Execution) -> list[str]:
    """Of a program with egress: what it asked for and was not given, each once."""
    if execution.network == Network.NONE:
        return []
    refused = execution.egress_requests.filter(allowed=False).order_by("id")
    asked = dict.fromkeys((request.host, request.port, request.get_reason_display()) for request in refused[:100])
    return [f"Its request to {host}:{port} was refused: {why}." for host, port, why in list(asked)[:MOST_HOSTS]]


def _ms(value: object) -> str:
    return format_ms(value) if isinstance(value, int | float) else "its limit"


def _bytes(value: object) -> str:
    return format_bytes(value) if isinstance(value, int | float) else "its limit"
