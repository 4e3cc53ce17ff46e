"""The Python worker, which becomes the program. See docs/runner-protocol.md, "Writing a worker".

Runs in a fork of the runner, already as the unprivileged user. Nothing here is a barrier: once the program's code
runs, it controls this process.
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
            os._exit(0)  # no job: the sandbox is being removed
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def prepare():
    """Add site-packages, which the runner was started without, set up the streams, and import the preloads."""
    import site

    site.main()
    # An undecodable byte or a lone surrogate in a debug print must not cost the result.
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
    """Write the program's files; return its module, not yet executed, and its compiled code."""
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
    # ASCII keeps a lone surrogate as an escape.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def report(error):
    """Print the traceback without this file's frames."""
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
        time.sleep(1)  # interpreter exit would delay the answer; the sandbox is removed with all its processes
    os._exit(status)


def finish(module):
    """Do what the interpreter does at exit, less the slow parts: join threads, run atexit, close open files."""
    flush()  # first, because joining a thread that never ends may leave no other chance
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
        # The program may have closed or replaced the stream.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def main():
    prepare()
    os.write(4, b"+")
    run(json.loads(read_exactly(int.from_bytes(read_exactly(4), "big"))))


main()
