"""The universal worker: compiles the program if its language needs it, then becomes the program.

It knows no language: the runtime's row gives the commands. See docs/runner-protocol.md, "The universal worker".
"""

import _signal  # `signal` would load enum
import binascii
import os
import sys

sys.path.append("/opt/sandbox")  # `python3 -I` starts without the script's folder

from frames import HostGone, read_exactly
from light import dumps, loads

WORKSPACE = "/workspace"
ARGUMENTS = "/run/sandbox/arguments.json"
RESULT = "/run/sandbox/result"
PROGRAM = "/tmp/program"
NOT_FOUND = 127
# The runner resets these for the program, and Python ignores them again.
IGNORED = (_signal.SIGPIPE, _signal.SIGXFSZ)


def write_file(path, content):
    folder = os.path.dirname(path)
    if folder != WORKSPACE:
        os.makedirs(folder, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def filled_in(words, source):
    stem = os.path.splitext(os.path.basename(source))[0]
    values = {"{source}": source, "{program}": PROGRAM, "{name}": stem, "{folder}": os.path.dirname(source)}
    filled = []
    for word in words:
        for name, value in values.items():
            word = word.replace(name, value)
        filled.append(word)
    return filled


def complain(command, error):
    os.write(2, f"{command[0]}: {error.strerror}\n".encode())


def compile_program(command, environment):
    """Run the compile command; return its exit status, or 128 + N if signal N killed it.

    The compiler's stdout and stderr both go to the program's stderr.
    """
    null = os.open("/dev/null", os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
    try:
        # posix_spawn shares the memory until exec: a fork costs more than most compilers' start.
        pid = os.posix_spawnp(
            command[0], command, {**os.environ, **environment}, file_actions=actions, setsigdef=IGNORED
        )
    except OSError as e:
        complain(command, e)
        return NOT_FOUND
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def become(command, environment):
    os.environ.update(environment)
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as e:
        complain(command, e)
        os._exit(NOT_FOUND)


def main():
    commands = loads(os.environ.pop("SANDBOX_COMMANDS"))
    del os.environ["SANDBOX_PRELOAD"]
    os.write(4, b"+")
    # The program must not have them.
    os.set_inheritable(3, False)
    os.set_inheritable(4, False)
    job = loads(read_exactly(3, int.from_bytes(read_exactly(3, 4), "big")))
    for file in job.get("files") or ():
        write_file(f"{WORKSPACE}/{file['path']}", binascii.a2b_base64(file["base64"]))
    source = f"{WORKSPACE}/{job['source_file']}"
    write_file(source, job["code"].encode("utf-8", "surrogatepass"))
    environment = job["environment"]
    function = job["mode"] == "function"
    if function:
        write_file(ARGUMENTS, dumps(job["arguments"]).encode())
        environment = {**environment, "SANDBOX_ARGUMENTS": ARGUMENTS, "SANDBOX_RESULT": RESULT}
    if commands["compile"]:
        status = compile_program(filled_in(commands["compile"], source), job["environment"])
        os.write(4, b"C" + bytes([status]))
        if status:
            os._exit(status)
    words = filled_in(commands["function" if function else "run"], source)
    become([*words, *job["argv"]], environment)


try:
    main()
except HostGone:
    os._exit(0)  # no job: the sandbox is being removed
except OSError as e:
    # For example, the program's files do not fit into /workspace.
    sys.stderr.write(f"{e}\n")
    os._exit(1)
