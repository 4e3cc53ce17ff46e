"""Judge0's numbers of languages, and the runtimes that stand for them."""

from clients.admission import usable
from clients.models import Client
from runtimes.models import Runtime

# The ids of Judge0 CE 1.13 and 1.14, which clients have in their code. Versions differ from ours: the runtime decides.
IDS: dict[str, tuple[int, ...]] = {
    "bash": (46,),
    "c": (48, 49, 50, 103),
    "commonlisp": (55,),
    "cpp": (52, 53, 54, 105),
    "fortran": (59,),
    "go": (60, 95, 106, 107),
    "java": (62, 91),
    "lua": (64,),
    "nodejs": (63, 93, 97, 102),
    "pascal": (67,),
    "perl": (85,),
    "php": (68, 98),
    "prolog": (69,),
    "python": (71, 92, 100, 109, 113),
    "r": (80, 99),
    "ruby": (72,),
    "rust": (73, 108),
    "sqlite": (82,),
    "typescript": (74, 94, 101),
}
SLUGS = {number: slug for slug, numbers in IDS.items() for number in numbers}
# Beyond Judge0's ids: runtimes that it does not have.
FIRST_OF_OURS = 1000
LARGEST = 2**31 - 1


def ids_of(runtime: Runtime) -> tuple[int, ...]:
    return IDS.get(runtime.slug, (FIRST_OF_OURS + runtime.pk,))


def id_of(runtime: Runtime) -> int:
    """Return the newest id of the runtime."""
    return ids_of(runtime)[-1]


def languages(client: Client | None) -> list[tuple[int, Runtime]]:
    listed = [(number, runtime) for runtime in usable(client) for number in ids_of(runtime)]
    return sorted(listed, key=lambda pair: pair[0])


def runtime_with(number: int, client: Client | None) -> Runtime | None:
    """Return the usable runtime with this id."""
    if not 0 < number <= LARGEST:
        return None
    rows = Runtime.objects.lean().enabled()
    slug = SLUGS.get(number)
    runtime = rows.filter(slug=slug).first() if slug else rows.filter(pk=number - FIRST_OF_OURS).first()
    if runtime is None or number not in ids_of(runtime):
        return None
    return runtime if client is None or client.may_use(runtime) else None
