"""Give this tree's images to a cluster whose node is this machine, without a registry.

`CONTAINERD_ADDRESS=socket python -m tests.cluster.images FOLDER` imports the platform's images into containerd, writes
an OCI archive of each built runtime into the folder, and values.json beside them, for `make test-cluster VALUES=…`.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from scripts.push import FOR_BUILDS, NEEDED, RUNTIME, chosen, copy, parse, present, save, source, working_file
from scripts.setup.host import SetupError, fail, must

FIX = "set CONTAINERD_ADDRESS to the socket of the cluster's containerd"


def import_into_containerd(name: str) -> None:
    # No part of a tag: containerd reads it as docker.io/sandbox-platform/NAME, as the kubelet does.
    ctr = ["ctr", "--address", os.environ.get("CONTAINERD_ADDRESS", ""), "--namespace", "k8s.io"]
    with working_file() as archive:
        save(source(name), archive)
        must([*ctr, "images", "import", archive], root=True, check=f"importing {name}", fix=FIX, timeout=1800)


def archive_of(name: str, folder: Path) -> None:
    target = folder / f"{name}.tar"
    target.unlink(missing_ok=True)  # skopeo would add to it
    with working_file() as archive:
        save(source(name), archive)
        copy(f"docker-archive:{archive}", f"oci-archive:{target}", parse(["--format", "oci"]))


def values(runtimes: list[str], folder: Path) -> dict[str, object]:
    return {
        "images": {"registry": "sandbox-platform", "tag": "latest", "pullPolicy": "Never"},
        "runtimes": runtimes,
        "runtimeImages": {"source": "archive", "archives": {"hostPath": str(folder)}},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in chosen("", present()):
            if name in (*NEEDED, *FOR_BUILDS):
                import_into_containerd(name)
            elif name.startswith(RUNTIME):
                archive_of(name, folder)
    except SetupError as error:
        return fail(error)
    runtimes = [path.stem.removeprefix(RUNTIME) for path in sorted(folder.glob(f"{RUNTIME}*.tar"))]
    (folder / "values.json").write_text(json.dumps(values(runtimes, folder), indent=1) + "\n", encoding="utf-8")
    print(f"make test-cluster VALUES={folder}/values.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
