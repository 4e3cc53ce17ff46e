"""Starts a detached sandbox as its own descendant, and writes the sandbox's exit status into a file when it ends.

A process of its own: `python3 -I reaper.py STARTED PID_FILE EXIT COMMAND…`. STARTED is a descriptor that gets one line,
the command's exit status. runsc keeps no exit status of a detached sandbox, and `runsc wait` is too late for one that
ends at once.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main(started: int, pid_file: Path, result: Path, command: list[str]) -> None:
    # The sandbox's parent, runsc, ends after the start: this process becomes the parent.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    status = subprocess.run(command, check=False, close_fds=True).returncode
    # The sandbox alone holds its streams.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nowhere, fd)
    os.write(started, f"{status}\n".encode())
    os.close(started)
    if status:
        return
    pid = int(pid_file.read_text())
    while (ended := os.waitpid(-1, 0))[0] != pid:
        pass
    code = os.waitstatus_to_exitcode(ended[1])
    draft = result.with_suffix(".new")
    draft.write_text(json.dumps({"exitStatus": code if code >= 0 else 128 - code}))
    draft.rename(result)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
