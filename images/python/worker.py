"""The Python worker: becomes the program. See docs/runner-protocol.md, "Writing a worker".

Runs inside the forked runner, already as the unprivileged user. Nothing here protects anything: from the
moment the program's code runs, this process is the program.
"""

import atexit
import contextlib
import json
import linecache
import os
import sys
import threading
import time
import types

WORKSPACE = "/workspace"


def read_exactly(size):
    parts = []
    while size:
        part = os.read(3, min(size, 1 << 20))
        if not part:
            os._exit(0)  # no job: the sandbox is being taken down
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def prepare():
    """A normal interpreter again: the runner was started without site-packages."""
    import site

    site.main()
    # An undecodable byte or a lone surrogate in a debug print is no reason to lose the result.
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    for name in json.loads(os.environ.pop("SANDBOX_PRELOAD")):
        __import__(name)


def write_files(files):
    import binascii

    for file in files:
        path = f"{WORKSPACE}/{file['path']}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as target:
            target.write(binascii.a2b_base64(file["base64"]))


def load(job):
    """The program as a module, not yet run, and its compiled code."""
    path = f"{WORKSPACE}/{job['source_file']}"
    code = job["code"]
    if job.get("files"):
        write_files(job["files"])
    folder = os.path.dirname(path)
    if folder != WORKSPACE:
        os.makedirs(folder, exist_ok=True)
        sys.path.insert(0, WORKSPACE)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(code)
    linecache.checkcache(path)
    name = "__main__" if job["mode"] == "script" else os.path.splitext(os.path.basename(path))[0]
    module = types.ModuleType(name)
    module.__file__ = path
    module.__builtins__ = __builtins__
    sys.modules[name] = module
    sys.argv = [path, *job["argv"]]
    sys.path.insert(0, folder)
    os.environ.update(job["environment"])
    return module, compile(code, path, "exec", dont_inherit=True)


def call_main(module, arguments):
    main = getattr(module, "main", None)
    if main is None:
        raise SystemExit("main() is not defined: the program must define a function named main.")
    value = main(**(arguments or {}))
    if hasattr(value, "__await__"):
        import asyncio

        async def awaited():
            return await value

        value = asyncio.run(awaited())
    # ASCII, so that a lone surrogate survives as an escape.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def report(error):
    """A traceback that starts in the program, not here."""
    import traceback

    frames = error.__traceback__
    while frames and not frames.tb_frame.f_code.co_filename.startswith(WORKSPACE):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def exit_status(error):
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def run(job):
    module = None
    try:
        module, code = load(job)
        exec(code, module.__dict__)
        if job["mode"] == "function":
            result = call_main(module, job["arguments"]).encode("ascii")
            write_all(4, b"R" + len(result).to_bytes(4, "big") + result)
        status = 0
    except SystemExit as e:
        status = exit_status(e)
    except BaseException as e:
        report(e)
        status = 1
    finish(module)
    if status == 0:
        os.write(4, b"D")
        time.sleep(1)  # exiting would only make the answer wait: the sandbox goes with all that is in it
    os._exit(status)


def finish(module):
    """What an interpreter does at its end, less the slow parts: threads, atexit, files left open."""
    flush()  # now, because a thread that does not end may leave no later
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        if module:
            module.__dict__.clear()
    except BaseException as e:
        report(e)
    flush()


def flush():
    for stream in (sys.stdout, sys.stderr):
        # The program may have closed or replaced it.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def main():
    prepare()
    os.write(4, b"+")
    run(json.loads(read_exactly(int.from_bytes(read_exactly(4), "big"))))


main()
