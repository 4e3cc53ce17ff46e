"""Measure what printing costs: `python -m bench.output`. Needs Docker and the images, but no running stack.

A program prints 100,000 lines: in an interpreter that is the only process of a container, and through the runner. Both
run in gVisor and wait before they print. The figures are the CPU time of the whole sandbox while they print.
"""

import argparse
import os
import select
import statistics
import time
import uuid
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
# The settings want these; nothing here uses a database.
os.environ.setdefault("DJANGO_SECRET_KEY", uuid.uuid4().hex)
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
os.environ["SANDBOX_NODE"] = f"bench-{uuid.uuid4().hex[:12]}"  # no keeper of this machine minds its containers
django.setup()

from bench.client import load  # noqa: E402
from runtimes.models import MIB, Limits  # noqa: E402
from sandboxes import cgroup  # noqa: E402
from sandboxes.docker_engine import DockerEngine  # noqa: E402
from sandboxes.engine import Channel, SandboxSpec  # noqa: E402
from sandboxes.protocol import Frames, Job  # noqa: E402

PATIENCE_S = 60
LIMITS = Limits(
    wall_time_ms=PATIENCE_S * 1000, cpu_time_ms=PATIENCE_S * 1000, cpus=1.0, memory_bytes=256 * MIB, processes=64,
    open_files=256, workspace_bytes=MIB, tmp_bytes=MIB, output_bytes=8 * MIB, output_action="cut", result_bytes=MIB,
    artifact_count=0, artifact_bytes=MIB,
)  # fmt: skip
PROGRAMS = {
    "python": ("main.py", ["/usr/bin/python3", "-c"], "for i in range(100000): print('line', i)\n"),
    "nodejs": ("main.js", ["node", "-e"], "for (let i = 0; i < 100000; i++) console.log('line', i)\n"),
}
WAITS = {
    "python": "input()\n{}import sys; sys.stdout.flush(); sys.stderr.write('done'); input()",
    "nodejs": "const fs = require('fs'); fs.readSync(0, Buffer.alloc(1));\n{}fs.writeSync(2, 'done');",
}


def received(channel: Channel) -> tuple[bytes, bytes]:
    if not select.select([channel], [], [], PATIENCE_S)[0] or (data := channel.receive()) is None:
        raise SystemExit("the sandbox ended or hangs")
    return data


def cpu_ms(
    engine: DockerEngine, spec: SandboxSpec, ready: Callable[[Channel], None], run: Callable[[Channel], None]
) -> int:
    container = engine.create(spec)
    try:
        channel = engine.attach(container)
        engine.start(container)
        ready(channel)
        before = cgroup.usage(container)
        run(channel)
        after = cgroup.usage(container)
        channel.close()
    finally:
        engine.remove(container)
    if before is None or after is None:
        raise SystemExit("the host's cgroups are not readable here")
    return after.cpu_ms - before.cpu_ms


def plain(engine: DockerEngine, language: str, image: str) -> int:
    _, command, program = PROGRAMS[language]
    spec = SandboxSpec(
        image=image,
        limits=LIMITS,
        command=(*command, WAITS[language].format(program)),
        environment={"LANG": "C.UTF-8"},
        as_nobody=True,
    )

    def run(channel: Channel) -> None:
        channel.send(b"\n")
        while b"done" not in received(channel)[1]:
            pass

    return cpu_ms(engine, spec, lambda _channel: time.sleep(2), run)


def through(engine: DockerEngine, language: str, image: str) -> int:
    source, _, program = PROGRAMS[language]
    job = Job(
        mode="script", code=program, source_file=source, arguments="{}", stdin="", argv=[], environment={},
        output_bytes=LIMITS.output_bytes, output_action=LIMITS.output_action, result_bytes=LIMITS.result_bytes,
        artifact_count=0, artifact_bytes=MIB, artifact_suffixes=None,
    )  # fmt: skip
    frames = Frames()

    def until(channel: Channel, last: bytes) -> None:
        while last not in [kind for kind, _ in frames.feed(received(channel)[0])]:
            pass

    def run(channel: Channel) -> None:
        channel.send(job.frame())
        until(channel, b"X")

    spec = SandboxSpec(image=image, limits=LIMITS, runner_config={"preload": [], "preload_when_idle": []})
    return cpu_ms(engine, spec, lambda channel: until(channel, b"H"), run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    engine = DockerEngine()
    print(f"load before: {load()}")
    for language in PROGRAMS:
        image = engine.image_id(f"sandbox-platform/runtime-{language}:latest")
        pairs = [(plain(engine, language, image), through(engine, language, image)) for _ in range(options.runs)]
        plainly, platform = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{language}: plain {plainly:.0f} ms, platform {platform:.0f} ms, ratio {platform / plainly:.2f}")
    print(f"load after: {load()}")


if __name__ == "__main__":
    main()
