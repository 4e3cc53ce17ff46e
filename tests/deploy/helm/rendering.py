"""The chart, rendered by Helm for the ways in which it may be installed."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.setup import helm
from tests.live import ROOT

CHART = ROOT / "deploy/helm/sandbox-platform"
Object = dict[str, Any]
Values = dict[str, Any]

REGISTRY = {"images": {"registry": "registry.example.com/sandbox", "pullSecrets": ["pull"]}}
TRIAL: Values = {**REGISTRY, "postgres": {"trial": {"enabled": True}}}
EXTERNAL: Values = {
    **REGISTRY,
    "postgres": {
        "external": {
            "host": "db.example.com",
            "sslmode": "verify-full",
            "ca": {"name": "db-ca"},
            "networks": ["192.0.2.7/32"],
        }
    },
    "secrets": {"existingSecret": "ours"},
    "networkPolicy": {"registry": {"networks": ["192.0.2.8/32"], "ports": [5000]}},
}
# Everything that may be switched on at once.
WHOLE: Values = {
    **EXTERNAL,
    "settings": {
        "SANDBOX_OIDC_ISSUER": "https://login.example.com",
        "SANDBOX_CALLBACK_NETWORKS": "10.1.0.0/16, 10.2.3.4/32",
        "SANDBOX_EGRESS_NETWORKS": "10.3.0.0/16",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    },
    "runtimeImages": {"ca": {"name": "registry-ca"}, "plainHttp": True},
    "web": {"autoscaling": {"enabled": True, "waiting": {"enabled": True}}},
    "ingress": {"enabled": True, "hosts": ["sandbox.example.com"], "tls": "certificate"},
    "agent": {
        "kind": "Deployment",
        "starts": 2,
        "images": {"hostPath": "/var/lib/sandbox-platform/images"},
        "nodeSelector": {"pool": "sandboxes"},
        "tolerations": [{"key": "sandboxes", "operator": "Exists"}],
        "autoscaling": {"type": "keda", "minReplicas": 0, "prometheus": "http://prometheus:9090"},
    },
    "builder": {"enabled": True, "pushSecret": "push", "configSecret": "mirrors"},
    "serviceMonitor": {"enabled": True},
}
ARCHIVE: Values = {
    **TRIAL,
    "runtimeImages": {"source": "archive", "archives": {"claim": "archives"}},
    "agent": {"kind": "Deployment", "autoscaling": {"type": "hpa"}},
    "egress": {"enabled": False},
    "seal": {"enabled": False},
}
WAYS = {"trial": TRIAL, "external": EXTERNAL, "whole": WHOLE, "archive": ARCHIVE}


def program() -> Path:
    found = helm.program()
    if not found and not os.environ.get("CI"):
        pytest.skip("Helm is neither installed nor built: python3 -m scripts.setup ensure_helm")
    assert found, "Helm is missing: run `python3 -m scripts.setup ensure_helm`"
    return found


def run_helm(*words: str, values: Values) -> subprocess.CompletedProcess[str]:
    command = [str(program()), *words, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


@functools.cache
def _rendered(values: str, options: tuple[str, ...]) -> list[Object]:
    done = run_helm("template", "try", str(CHART), "--namespace", "sandbox", *options, values=json.loads(values))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def render(values: Values, *options: str) -> list[Object]:
    return _rendered(json.dumps(values), options)


def refusal(values: Values) -> str:
    """What Helm says about values that it must refuse."""
    done = run_helm("template", "try", str(CHART), values=values)
    assert done.returncode != 0, done.stdout
    return done.stderr


def merged(one: Values, other: Values) -> Values:
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return {**one, **other, **both}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def part_of(thing: Object) -> str:
    return str(thing["metadata"]["labels"]["app.kubernetes.io/component"])


def with_volumes(template: Object, more: list[Object]) -> Object:
    spec = template["spec"]
    return template | {"spec": spec | {"volumes": [*spec["volumes"], *more]}}


def pods(objects: list[Object]) -> dict[str, Object]:
    """The template of each pod, by its part."""
    found = {}
    for each in objects:
        template = each.get("spec", {}).get("template")
        if each["kind"] == "CronJob":
            template = each["spec"]["jobTemplate"]["spec"]["template"]
        if template:
            claims = [one["metadata"]["name"] for one in each["spec"].get("volumeClaimTemplates", ())]
            # As the controller of a StatefulSet adds them.
            volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
            found[part_of(template)] = with_volumes(template, volumes) if volumes else template
    return found


def containers(pod: Object) -> dict[str, Object]:
    spec = pod["spec"]
    return {each["name"]: each for each in [*spec.get("initContainers", ()), *spec["containers"]]}


def environment(container: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", ())}


def secret_keys(pod: Object, container: Object) -> set[str]:
    """The keys of Secrets that a container can read."""
    mounted = {each["name"] for each in container["volumeMounts"]}
    keys = set()
    for volume in pod["spec"]["volumes"]:
        if volume["name"] in mounted:
            sources = [one["secret"] for one in volume.get("projected", {}).get("sources", ())]
            sources += [volume["secret"]] if "secret" in volume else []
            keys |= {item["key"] for source in sources for item in source.get("items", [{"key": "*"}])}
    return keys
