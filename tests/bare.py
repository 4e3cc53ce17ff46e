"""An image that holds /bin/sh, what that is linked with, and nothing else."""

import io
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker


@contextmanager
def bare_image() -> Iterator[str]:
    shell = Path("/bin/sh").resolve()
    linked = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", linked)]
    files = {"bin/sh": shell.read_bytes()} | {str(path)[1:]: path.read_bytes() for path in libraries}
    repository = f"sandbox-platform-test/bare-{uuid.uuid4().hex[:12]}"
    with closing(docker.from_env()) as client:
        client.api.import_image_from_data(tar_of(files), repository, "latest")
        yield f"{repository}:latest"
        client.images.remove(f"{repository}:latest")


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
