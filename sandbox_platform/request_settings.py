"""Settings of how requests arrive and how large they may be. `.env.example` and docs/security.md explain them."""

from sandbox_platform.kit.env import envduration, envint, envmemory, envquota
from sandbox_platform.kit.formats import FORMATS
from sandbox_platform.kit.web.incoming import Bounds

# Bounds of a request's size and of an answer's: parsing takes a multiple of them in memory. RAGFlow sends the whole
# program and its arguments in one JSON body, which can be large.
DATA_UPLOAD_MAX_MEMORY_SIZE = envmemory("SANDBOX_MAX_REQUEST", "32m")
SANDBOX_MAX_PROGRAM_BYTES = envmemory("SANDBOX_MAX_PROGRAM", "1m")
SANDBOX_MAX_ARGUMENTS_BYTES = envmemory("SANDBOX_MAX_ARGUMENTS", "8m")
# Lists, objects and their elements in one JSON body: an empty list takes 3 bytes there and 64 in memory.
SANDBOX_MAX_VALUES = envint("SANDBOX_MAX_VALUES", 500_000, minimum=1000)
# Memory of the process that checks a large program against the code policy.
SANDBOX_POLICY_MEMORY_BYTES = envmemory("SANDBOX_POLICY_MEMORY", "400m")
# Large fields in one page of a list, or in one step of an export; a page has at least one row.
SANDBOX_MAX_PAGE_BYTES = envmemory("SANDBOX_MAX_PAGE", "32m")
# What the history of a client may hold that has no quota of its own; 0: any number of bytes.
SANDBOX_CLIENT_STORAGE_BYTES = envquota("SANDBOX_CLIENT_STORAGE", "20g")

# How requests arrive; see sandbox_platform/kit/web.
SANDBOX_MAX_FORM_BYTES = envmemory("SANDBOX_MAX_FORM", "1m")
SANDBOX_WEB_BOUNDS = Bounds(
    head_s=envduration("SANDBOX_WEB_HEAD_TIMEOUT", "10s") / 1000,
    body_s=envduration("SANDBOX_WEB_BODY_TIMEOUT", "30s") / 1000,
    lowest_rate=envmemory("SANDBOX_WEB_LOWEST_RATE", "16k"),
    largest=(
        *((address.encode(), DATA_UPLOAD_MAX_MEMORY_SIZE) for format in FORMATS for address in format.addresses),
        (b"/run", DATA_UPLOAD_MAX_MEMORY_SIZE),
        (b"/mcp", DATA_UPLOAD_MAX_MEMORY_SIZE),
        (b"/api/v1/executions", DATA_UPLOAD_MAX_MEMORY_SIZE),
        (b"/api/v1/batches", DATA_UPLOAD_MAX_MEMORY_SIZE),
        # Programs of inspections, rules of profiles.
        (b"/api", 4 * SANDBOX_MAX_PROGRAM_BYTES),
        (b"", SANDBOX_MAX_FORM_BYTES),
    ),
)
SANDBOX_WEB_CONNECTIONS_PER_ADDRESS = envint("SANDBOX_WEB_CONNECTIONS_PER_ADDRESS", 256, minimum=1)
# Large bodies in one web process at the same time. Each takes several times its size while it is parsed.
SANDBOX_WEB_BODIES_BYTES = envmemory("SANDBOX_WEB_BODIES", "96m")
# Threads of each web process; see executions/places.py for how many of them may wait.
SANDBOX_WEB_THREADS = envint("SANDBOX_WEB_THREADS", 128, minimum=8)
