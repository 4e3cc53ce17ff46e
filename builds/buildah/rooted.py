"""Reads or writes files of a foreign file system as a tar archive, from within: rooted.py ROOT read|write PATH.

Runs as a process of its own, because it gives up the machine's files first. A link of the image leads within the image,
as for the programs there. `read` writes the file or folder to stdout, and nothing if it does not exist; `write` puts
what stdin has below the folder.
"""

import codecs
import os
import sys
import tarfile


def enter(root: str) -> None:
    """Make the folder this process's root. From then on nothing is loaded: it would be loaded from the image."""
    for name in ("ascii", "utf-8", "latin-1"):
        codecs.lookup(name)
    os.chroot(root)
    os.chdir("/")
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    # They would ask the image's libraries for the names of users. Numbers are what counts.
    tarfile.pwd = tarfile.grp = None  # type: ignore[attr-defined]


def read(path: str) -> None:
    if os.path.lexists(path):
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            tar.add(path, arcname=os.path.basename(path.rstrip("/")))


def write(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        # As they are: modes and owners are part of what an image is. Nothing of the machine can be reached.
        tar.extraction_filter = staticmethod(lambda member, _: member)
        tar.extractall(path, numeric_owner=True)  # noqa: S202


def main() -> None:
    root, verb, path = sys.argv[1:]
    enter(root)
    try:
        {"read": read, "write": write}[verb](path)
    except (OSError, tarfile.TarError) as e:
        sys.exit(f"{type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
