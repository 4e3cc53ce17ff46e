"""Measure the floor: `docker run --rm` of the same image with the same program, without the platform."""

import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

COMMANDS = {
    "python": ["python3", "-c", "import json\ndef main(): return 1\nprint(json.dumps(main()))"],
    "nodejs": ["node", "-e", "function main() { return 1 }; console.log(JSON.stringify(main()))"],
}


def once(language: str, image: str) -> float:
    """Run one container. Return the milliseconds until the command ends."""
    program, *arguments = COMMANDS[language]
    started = time.monotonic()
    subprocess.run(
        # unconfined: --oci-seccomp would apply Docker's default profile, under which Node.js does not start.
        [
            docker(), "run", "--rm", "--runtime=runsc", "--network=none", "--log-driver=none",
            "--security-opt=seccomp=unconfined", f"--entrypoint={program}", image, *arguments,
        ],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return (time.monotonic() - started) * 1000


def docker() -> str:
    # Prefer the distribution's client: a binary elsewhere on the PATH may be older than the engine.
    return "/usr/bin/docker" if shutil.which("/usr/bin/docker") else "docker"


def latency(language: str, image: str, runs: int) -> list[float]:
    return [once(language, image) for _ in range(runs)]


def churn(language: str, image: str, *, parallel: int, runs: int) -> float:
    """Return the number of fresh containers per second."""
    started = time.monotonic()
    with ThreadPoolExecutor(parallel) as threads:
        list(threads.map(lambda _: once(language, image), range(runs)))
    return runs / (time.monotonic() - started)
