"""An installation of the chart in the cluster that KUBECONFIG names, and a pod that calls it."""

import copy
import json
import os
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from scripts import smoke
from tests.deploy.helm.rendering import CHART, Values, merged, program

T = TypeVar("T")
Object = dict[str, Any]
HERE = Path(__file__).parent
# Small, so that several agents fit on one node.
VALUES: Values = {
    "postgres": {"trial": {"enabled": True, "persistence": {"enabled": False}}},
    # Without a volume for its key.
    "seal": {"enabled": False},
    "web": {"resources": {"requests": {"cpu": "100m"}}},
    "agent": {
        "workers": 4,
        "drainSeconds": 60,
        "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}},
    },
}
# Images are unpacked at the first start, one after the other.
READY_S = 900
# On a busy machine of two cores.
GONE_S = 300


def kubectl(*words: str, stdin: str | None = None, check: bool = True, timeout: float = 600) -> str:
    done = subprocess.run(
        ["kubectl", *words], input=stdin, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}{done.stdout}")
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def cluster_answers() -> None:
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG is not set: name the cluster that may be used for tests"
    kubectl("get", "nodes", timeout=30)


def given_values() -> Values:
    """Of the file that names the images. Empty where no cluster is tested."""
    path = os.environ.get("SANDBOX_CLUSTER_VALUES")
    return dict(yaml.safe_load(Path(path).read_text())) if path else {}


def given_image(name: str) -> tuple[str, str]:
    """Reference and pull policy of an image of the platform, by the values that were given."""
    images: Values = given_values()["images"]
    own: Values = images.get(name, {})
    reference = own.get("repository") or f"{images['registry']}/{name}"
    by = f"@{own['digest']}" if own.get("digest") else f":{own.get('tag') or images['tag']}"
    return reference + by, images.get("pullPolicy", "IfNotPresent")


def within(seconds: float, look: Callable[[], T | None]) -> T:
    """Return the first true answer. Fails after this time."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s"
        time.sleep(1)
    return found


class Release:
    def __init__(self, name: str, values: Values | None = None) -> None:
        self.name = self.namespace = f"sandbox-test-{name}"
        self.prefix = f"{self.name}-sandbox-platform"
        self._values = merged(VALUES, values or {})

    def helm(self, *words: str) -> None:
        images = os.environ["SANDBOX_CLUSTER_VALUES"]
        command = [str(program()), *words, "--namespace", self.namespace, "--values", images, "--values", "-"]
        done = subprocess.run(
            command, input=json.dumps(self._values), capture_output=True, text=True, check=False, timeout=READY_S
        )
        assert done.returncode == 0, done.stderr + self.told()

    def make_namespace(self) -> None:
        kubectl("create", "namespace", self.namespace)
        kubectl("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=privileged")

    def install(self) -> None:
        self.helm("install", self.name, str(CHART))
        self.wait_until_ready()

    def change(self, values: Values) -> None:
        """Of what is installed next."""
        self._values = merged(self._values, values)

    def upgrade(self, changes: Values) -> None:
        self.change(changes)
        self.helm("upgrade", self.name, str(CHART))

    def uninstall(self) -> None:
        command = [str(program()), "uninstall", self.name, "--namespace", self.namespace, "--wait"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READY_S)
        assert done.returncode == 0, done.stderr

    def wait_until_ready(self) -> None:
        for each in self.get("deployments,daemonsets,statefulsets")["items"]:
            what = f"{each['kind'].lower()}/{each['metadata']['name']}"
            kubectl("-n", self.namespace, "rollout", "status", what, f"--timeout={READY_S}s", timeout=READY_S + 30)

    def apply(self, *objects: Object) -> None:
        kubectl(
            "-n",
            self.namespace,
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": objects}),
        )

    def wait(self, what: str, until: str) -> None:
        kubectl("-n", self.namespace, "wait", what, f"--for={until}", f"--timeout={GONE_S}s")

    def until_pod_is_ready(self, name: str) -> None:
        self.wait(f"pod/{name}", "condition=Ready")

    def remove(self) -> None:
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", f"--timeout={GONE_S}s", check=False)

    def get(self, kinds: str, *words: str) -> Object:
        found: Object = json.loads(kubectl("-n", self.namespace, "get", kinds, *words, "-o", "json"))
        return found

    def pods(self, part: str) -> list[str]:
        listed = self.get("pods", "-l", f"app.kubernetes.io/component={part}")["items"]
        return [each["metadata"]["name"] for each in listed if "deletionTimestamp" not in each["metadata"]]

    def exec(self, part: str, *words: str, container: str = "", check: bool = True) -> str:
        name = within(GONE_S, lambda: self.pods(part))[0]
        return kubectl("-n", self.namespace, "exec", name, "-c", container or part, "--", *words, check=check)

    def broken(self) -> list[Object]:
        """What the doctor finds broken on the node of an agent."""
        words = ("env", "SANDBOX_SERVICE=worker", "python3", "manage.py", "doctor", "--json")
        said = self.exec("agent", *words, check=False)
        checks: list[Object] = json.loads(said[said.index("[") : said.rindex("]") + 1])
        assert len(checks) > 10
        return [each for each in checks if each["status"] == "broken"]

    def restarts(self) -> int:
        states = [one for each in self.get("pods")["items"] for one in each["status"].get("containerStatuses", ())]
        return sum(one["restartCount"] for one in states)

    def token(self, secret: str = "") -> str:
        return b64decode(self.get(f"secret/{secret or self.prefix}")["data"]["api_token"]).decode()

    def told(self) -> str:
        """What is in the namespace, and the last lines of every container. No secret is among them."""
        parts = [kubectl("-n", self.namespace, "get", "pods,jobs", "-o", "wide", check=False)]
        parts.append(
            kubectl("-n", self.namespace, "get", "events", "--sort-by=.lastTimestamp", check=False)[-5000:]
        )
        selector = "app.kubernetes.io/name=sandbox-platform"
        logs = ("logs", "-l", selector, "--all-containers", "--prefix", "--tail=40", "--ignore-errors")
        parts.append(kubectl("-n", self.namespace, *logs, check=False))
        return "\n".join(parts)


CALLER = "caller"


class Caller:
    """Sends programs from a pod of the cluster to the Service, by the name that RAGFlow uses."""

    def __init__(self, release: Release, secret: str = "") -> None:
        """`secret`: with the token, if it is not the chart's own."""
        self._namespace, self._token = release.namespace, release.token(secret)
        self.url = "http://sandbox-executor-manager:9385"
        image, policy = given_image("platform")
        kubectl(
            "-n", self._namespace, "run", CALLER, f"--image={image}", "--restart=Never",
            f"--image-pull-policy={policy}", "--command", "--", "sleep", "86400",
        )  # fmt: skip
        kubectl("-n", self._namespace, "wait", f"pod/{CALLER}", "--for=condition=Ready", "--timeout=120s")

    def python(self, script: str, *words: str) -> str:
        command = ("-n", self._namespace, "exec", "-i", CALLER, "--", "python3", "-", *words)
        return kubectl(*command, stdin=script, timeout=1800)

    def with_token(self, token: str) -> "Caller":
        other = copy.copy(self)
        other._token = token
        return other

    def smoke(self) -> str:
        return self.python(Path(smoke.__file__).read_text(), self.url, self._token)

    def send(self, method: str, path: str, body: object = None) -> Object:
        (answer,) = self.send_all([(method, path, body)], at_once=1)
        return answer

    def send_all(self, requests: Sequence[tuple[str, str, object]], *, at_once: int) -> list[Object]:
        """Send requests; return {status, body} of each, or {error}, in their order."""
        job = json.dumps({"url": self.url, "token": self._token, "at_once": at_once, "requests": requests})
        answers: list[Object] = json.loads(self.python((HERE / "calling.py").read_text(), job))
        return answers

    def under_load(self, number: int, code: str) -> subprocess.Popen[str]:
        """Begin to send this many runs, four at a time, while something else happens."""
        run = ("POST", "/api/v1/executions", {"runtime": "python", "code": code, "wait": 600})
        job = json.dumps({"url": self.url, "token": self._token, "at_once": 4, "requests": [run] * number})
        command = ["kubectl", "-n", self._namespace, "exec", "-i", CALLER, "--", "python3", "-", job]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        process.stdin.write((HERE / "calling.py").read_text())
        process.stdin.close()
        return process


def run(caller: Caller, code: str, **fields: Any) -> Object:
    """Let a Python program, or one of another runtime, run to its end."""
    answer = caller.send("POST", "/api/v1/executions", {"runtime": "python", "code": code, "wait": 300, **fields})
    assert answer.get("status") == 201, answer
    return dict(answer["body"])


def answers_of(load: subprocess.Popen[str]) -> list[Object]:
    assert load.stdout
    answers: list[Object] = json.loads(load.stdout.read())
    assert load.wait(60) == 0
    return answers


def refused_by_api_server(manifest: object, namespace: str) -> str:
    """Why the API server refuses an object, or "": it checks everything, and keeps nothing."""
    words = ["kubectl", "-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-"]
    done = subprocess.run(
        words, input=json.dumps(manifest), capture_output=True, text=True, check=False, timeout=120
    )
    return done.stderr if done.returncode != 0 else ""
