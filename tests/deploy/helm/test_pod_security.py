"""Every pod but agent and builder passes Pod Security's `restricted`, and what these two have is what they need."""

import copy
import re
from typing import Any

import pytest
import yaml

from tests.deploy.helm.pod_security import violations
from tests.deploy.helm.rendering import EXTERNAL, TRIAL, WAYS, WHOLE, containers, pods, render
from tests.live import ROOT

MANUAL = (ROOT / "docs/kubernetes.md").read_text()
# Pods that start sandboxes.
WITH_RIGHTS = {"agent", "builder"}
GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "a", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}
BAD: dict[str, dict[str, Any]] = {
    "hostNetwork": {"hostNetwork": True},
    "hostPID": {"hostPID": True},
    "volume hostPath": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
    "sysctl kernel.msgmax": {"pod": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
    "runAsUser": {"own": {"runAsUser": 0}},
    "privileged": {"own": {"privileged": True}},
    "allowPrivilegeEscalation": {"own": {"allowPrivilegeEscalation": None}},
    "procMount": {"own": {"procMount": "Unmasked"}},
    "runAsNonRoot": {"pod": {"runAsNonRoot": None}},
    "seccompProfile": {"own": {"seccompProfile": {"type": "Unconfined"}}},
    "appArmorProfile": {"own": {"appArmorProfile": {"type": "Unconfined"}}},
    "seLinuxOptions": {"own": {"seLinuxOptions": {"type": "spc_t"}}},
    "hostProcess": {"own": {"windowsOptions": {"hostProcess": True}}},
    "capabilities.drop": {"own": {"capabilities": {"drop": ["NET_RAW"]}}},
    "capabilities.add": {"own": {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}},
    "hostPort": {"container": {"ports": [{"containerPort": 1, "hostPort": 1}]}},
    "host of a probe": {"container": {"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 1}}}},
}


def test_the_rules_let_a_good_pod_pass() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize("field", BAD)
def test_the_rules_find_what_is_refused(field: str) -> None:
    changes = dict(BAD[field])
    spec = copy.deepcopy(GOOD)
    spec["securityContext"] |= changes.pop("pod", {})
    spec["containers"][0]["securityContext"] |= changes.pop("own", {})
    spec["containers"][0] |= changes.pop("container", {})
    assert violations(spec | changes) == [field]


def test_the_rules_want_a_seccomp_profile_to_be_named() -> None:
    spec = copy.deepcopy(GOOD)
    del spec["securityContext"]["seccompProfile"]
    assert violations(spec) == ["seccompProfile"]


@pytest.mark.parametrize("way", WAYS)
def test_only_agent_and_builder_are_more_than_restricted(way: str) -> None:
    found = {part: violations(pod["spec"]) for part, pod in pods(render(WAYS[way])).items()}
    assert {part for part, fields in found.items() if fields} <= WITH_RIGHTS, found
    assert found["agent"]


def test_rights_are_those_of_one_container_and_not_of_its_neighbours() -> None:
    for part in WITH_RIGHTS:
        spec = pods(render(WHOLE))[part]["spec"]
        others = [each for each in [*spec["initContainers"], *spec["containers"]] if each["name"] != part]
        for each in others:
            context = each["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("part", sorted(WITH_RIGHTS))
def test_neither_is_privileged_nor_in_the_nodes_namespaces(part: str) -> None:
    spec = pods(render(WHOLE))[part]["spec"]
    context = containers({"spec": spec})[part]["securityContext"]
    assert context["privileged"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}


def test_the_agent_has_the_capabilities_of_the_direct_engine_in_compose() -> None:
    overlay = yaml.safe_load((ROOT / "docker-compose.direct.yml").read_text())
    context = containers(pods(render(TRIAL))["agent"])["agent"]["securityContext"]
    assert context["capabilities"]["add"] == overlay["x-direct"]["cap_add"]


@pytest.mark.parametrize("part", sorted(WITH_RIGHTS))
def test_every_right_is_explained(part: str) -> None:
    (section,) = re.findall(rf"^### Rights of the {part}\n(.+?)(?=^##)", MANUAL, re.MULTILINE | re.DOTALL)
    explained = {
        word: reason
        for words, reason in re.findall(r"^\| (`.+?) \| (.+?) \|$", section, re.MULTILINE)
        for word in re.findall(r"`(.+?)`", words)
    }
    context = containers(pods(render(WHOLE))[part])[part]["securityContext"]
    rights = {
        *context["capabilities"]["add"],
        *(f"{key}: {context[key]['type']}" for key in ("seccompProfile", "appArmorProfile")),
        *(f"{key}: {context[key]}".lower() for key in ("allowPrivilegeEscalation",)),
        f"runAsUser: {context['runAsUser']}",
    }
    rights = {right.replace("allowprivilegeescalation", "allowPrivilegeEscalation") for right in rights}
    assert rights == {word for word in explained if word != "hostPath"}
    assert all(len(reason.split()) > 4 for reason in explained.values())


def test_a_folder_of_the_node_is_mounted_only_if_values_name_one() -> None:
    def folders(values: dict[str, Any]) -> list[str]:
        volumes = [volume for pod in pods(render(values)).values() for volume in pod["spec"]["volumes"]]
        return [volume["hostPath"]["path"] for volume in volumes if "hostPath" in volume]

    assert folders(EXTERNAL) == []
    assert folders(WHOLE) == ["/var/lib/sandbox-platform/images"]


@pytest.mark.parametrize("way", WAYS)
def test_no_pod_has_a_token_of_the_cluster(way: str) -> None:
    objects = render(WAYS[way])
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods(objects).values())
    assert not {each["kind"] for each in objects} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize("way", WAYS)
def test_every_container_has_a_memory_limit_and_requests(way: str) -> None:
    for part, pod in pods(render(WAYS[way])).items():
        for name, container in containers(pod).items():
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), (part, name)
            assert "memory" in container["resources"]["limits"], (part, name)


@pytest.mark.parametrize("way", WAYS)
def test_every_root_is_read_only(way: str) -> None:
    for pod in pods(render(WAYS[way])).values():
        assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in containers(pod).values())
