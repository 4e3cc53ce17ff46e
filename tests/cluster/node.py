"""What a node has of pods: mounts, cgroups, processes and files. Seen from a pod that is privileged, as no part of the
chart is: the tests' own.
"""

import json

from tests.cluster.release import Release, given_image, kubectl

NAME = "node"
LOOK = """
import json, os, pathlib, sys
uids = [form for uid in sys.argv[2:] for form in (uid, uid.replace("-", "_"))]
ours = lambda text: any(uid in text for uid in uids)
node = pathlib.Path("/node")
mounts = [line.split()[4] for line in open("/proc/1/mountinfo") if ours(line)]
cgroups = [path for path, *_ in os.walk(node / "sys/fs/cgroup") if ours(path)]
processes = []
for each in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if ours((each / "cgroup").read_text()):
            processes.append((each / "comm").read_text().strip())
    except OSError:
        pass  # ended meanwhile
folders = [path.name for path in (node / sys.argv[1].lstrip("/")).iterdir() if ours(path.name)]
print(json.dumps({"mounts": mounts, "cgroups": cgroups, "processes": processes, "folders": folders}))
"""


class Node:
    def __init__(self, release: Release) -> None:
        image, policy = given_image("platform")
        self._namespace = release.namespace
        ours = release.get("pods", "-l", f"app.kubernetes.io/instance={release.name}")["items"]
        self._uids = [each["metadata"]["uid"] for each in ours]
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME},
            "spec": {
                "hostPID": True,
                "containers": [{
                    "name": NAME, "image": image, "imagePullPolicy": policy,
                    "command": ["sleep", "86400"], "securityContext": {"privileged": True, "runAsUser": 0},
                    "volumeMounts": [{"name": NAME, "mountPath": "/node", "readOnly": True}],
                }],
                "volumes": [{"name": NAME, "hostPath": {"path": "/"}}],
            },
        }  # fmt: skip
        release.apply(pod)
        release.until_pod_is_ready(NAME)
        mounts = self._shell("awk", "{print $5}", "/proc/1/mountinfo").splitlines()
        # /var/lib/kubelet/pods, or where else this node has it.
        self._pods = next(
            f"{path.partition('/pods/')[0]}/pods"
            for path in mounts
            if any(f"/pods/{uid}/" in path for uid in self._uids)
        )

    def _shell(self, *words: str, stdin: str | None = None) -> str:
        return kubectl("-n", self._namespace, "exec", "-i", NAME, "--", *words, stdin=stdin)

    def has(self) -> dict[str, list[str]]:
        """Mounts, cgroups, processes and folders of the release's pods that were there when this began to look."""
        said = self._shell("python3", "-", self._pods, *self._uids, stdin=LOOK)
        found: dict[str, list[str]] = json.loads(said)
        return found
