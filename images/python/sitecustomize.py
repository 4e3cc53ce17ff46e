"""The Python worker: an interpreter that takes its job before it runs its main program.

The runner starts it as any shell would, `python3 /workspace/main.py`, but the file does not exist yet: Python imports
this module last before it opens the file, and here it waits. What follows is Python's own work, from the encoding
declaration of the source to the order in which everything ends. See docs/runner-protocol.md, "Writing a worker".

Nothing here is a barrier: once the program's code runs, it controls this process.
"""

import os
import sys

WORKSPACE = "/workspace"
RESULT = "/run/sandbox/result"
FONTS = "/opt/sandbox/matplotlib"
ENDING = "/opt/sandbox/ending.so"
SIGURG = 23
# Written to the program's file in its stead, and replaced by the program as soon as it runs.
CALLER = b"import sitecustomize\nsitecustomize.call_main()\n"


def read_exactly(size):
    parts = []
    while size:
        part = os.read(3, min(size, 1 << 20))
        if not part:
            os._exit(0)  # no job: the sandbox is being removed
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_files(files):
    import binascii

    for file in files:
        path = f"{WORKSPACE}/{file['path']}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as target:
            target.write(binascii.a2b_base64(file["base64"]))


def write_program(path, code):
    """Write the program's source, as bytes, to its file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    while code:
        code = code[os.write(fd, code) :]
    os.close(fd)


def forget_shadowed(files, source, before):
    """Forget modules that were loaded here, if the program has its own of that name beside it."""
    folder = os.path.dirname(source)
    near = {os.path.relpath(file["path"], folder or ".").partition("/")[0] for file in files}
    for name in set(sys.modules) - before:
        if not near.isdisjoint({top := name.partition(".")[0], f"{top}.py"}):
            del sys.modules[name]


def preload(names):
    """Import the modules, and see to it that they are not torn down at the end, which takes longer than most runs."""
    import atexit
    import ctypes

    kept = []

    def keep():
        # The last function of all at exit, because it is the first that was registered.
        for name in loaded:
            kept.append(sys.modules.pop(name, None))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

    atexit.register(keep)
    before = set(sys.modules)
    for name in names:
        __import__(name)
    loaded = set(sys.modules) - before


def link_fonts():
    """Give matplotlib the list of fonts that was made with the image, which it would look for in every sandbox anew."""
    folder = os.environ.get("MPLCONFIGDIR")
    if not folder:
        return
    try:  # noqa: SIM105
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(FONTS):
            os.symlink(f"{FONTS}/{name}", f"{folder}/{name}")
    except OSError:
        pass  # a seccomp profile forbids it, or the image has no matplotlib


def flush(*_):
    """Somebody watches the run, so the runner asks for what is in the buffer."""
    # Not contextlib.suppress: that is a module which the program did not import.
    try:  # noqa: SIM105
        sys.__stdout__.flush()
    except Exception:  # noqa: S110
        pass  # closed, or the signal came in the middle of a write


def load_ending():
    """Load the library that tells the runner of the end: as an extension module, because ctypes takes long to load."""
    import _imp

    spec = type(sys)("ending")
    spec.name, spec.origin = "ending", ENDING
    # It is loaded, and stays so, before Python looks for the function that would make a module of it.
    try:  # noqa: SIM105
        _imp.create_dynamic(spec)
    except ImportError:
        pass


def wait_for_job():
    import _signal
    import gc

    before = set(sys.modules)
    if names := loads(os.environ.pop("SANDBOX_PRELOAD")):
        preload(names)
    link_fonts()
    # Python's end looks at every object several times, and at these for nothing. But the program's own module must be
    # among those that it looks at.
    gc.freeze()
    main = type(sys)("__main__")
    main.__dict__.update(sys.modules["__main__"].__dict__)
    sys.modules["__main__"] = main
    load_ending()
    os.write(4, b"+")
    job = loads(read_exactly(int.from_bytes(read_exactly(4), "big")))
    os.close(3)
    os.close(4)
    if job.get("files"):
        write_files(job["files"])
        forget_shadowed(job["files"], job["source_file"], before)
    path = f"{WORKSPACE}/{job['source_file']}"
    job["code"] = job["code"].encode("utf-8", "surrogatepass")
    if "/" in job["source_file"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    for folder in [folder for folder, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[folder]  # it may exist now
    sys.path_importer_cache[path] = None  # what Python finds out after it has looked for an archive in the program
    os.environ.update(job["environment"])
    sys.argv[:] = sys.orig_argv[1:] = [path, *job["argv"]]
    _signal.signal(SIGURG, flush)
    if job["mode"] == "script":
        write_program(path, job["code"])
        return None
    for stream in (sys.stdout, sys.stderr):
        # A lone surrogate in a debug print must not cost the result.
        stream.reconfigure(errors="backslashreplace")
    write_program(path, CALLER)
    return job


def call_main():
    """The main program of mode *function*: runs the program as a module, calls its main, and writes the result."""
    global job
    own, job = job, None
    path = sys.argv[0]
    write_program(path, own["code"])
    name = os.path.splitext(os.path.basename(path))[0]
    module = type(sys)(name)
    module.__file__ = path
    module.__builtins__ = __builtins__
    sys.modules[name] = module
    main_process = os.getpid()
    try:
        exec(compile(own["code"], path, "exec", dont_inherit=True), module.__dict__)
        result = encoded(value_of(module, own["arguments"]))
        if os.getpid() == main_process:  # not a forked child that left its main, too
            write_result(result)
    except Exception as error:
        report(error)


def value_of(module, arguments):
    main = getattr(module, "main", None)
    if main is None:
        sys.exit("main() is not defined: the program must define a function named main.")
    value = main(**(arguments or {}))
    if hasattr(value, "__await__"):
        import asyncio

        async def awaited():
            return await value

        value = asyncio.run(awaited())
    return value


def encoded(value):
    json = sys.modules.get("json")
    try:
        # A program that has changed the json module means its result, too. ASCII keeps a lone surrogate as an escape.
        if hasattr(json, "JSONEncoder"):
            return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        return dumps(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        sys.exit(own_module("not_json").explanation(value, error))


def own_module(name):
    """Import a module of the image's own, and leave no trace of it."""
    sys.path.append("/opt/sandbox")
    module = __import__(name)
    sys.path.remove("/opt/sandbox")
    del sys.modules[name]
    return module


def write_result(result):
    # Renamed when it is whole: the runner may end the program at any time.
    with open(f"{RESULT}.part", "wb") as file:
        file.write(result)
    os.rename(f"{RESULT}.part", RESULT)


def report(error):
    """Print the traceback without this file's frames, and end as Python does."""
    frames = error.__traceback__
    while frames and not frames.tb_frame.f_code.co_filename.startswith(WORKSPACE):
        frames = frames.tb_next
    sys.excepthook(type(error), error.with_traceback(frames), frames)
    raise SystemExit(1)


# Only in the interpreter that the runner started, not in those of the program.
if "SANDBOX_PRELOAD" in os.environ:
    light = own_module("light")
    loads, dumps = light.loads, light.dumps
    job = wait_for_job()
