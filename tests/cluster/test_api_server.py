"""What the API server says of the rendered chart, without keeping anything of it."""

import copy
import json
from collections.abc import Iterator

import pytest

from tests.cluster.release import kubectl, refused_by_api_server
from tests.deploy.helm.rendering import EXTERNAL, TRIAL, WAYS, merged, of_kind, pods, render
from tests.deploy.helm.test_pod_security import WITH_RIGHTS
from tests.deploy.helm.test_rendering import OTHERS

NAMESPACE = "sandbox-test-restricted"


@pytest.fixture(scope="module")
def restricted(cluster: None) -> Iterator[str]:
    """A namespace that enforces Pod Security's `restricted`."""
    kubectl("create", "namespace", NAMESPACE)
    try:
        kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield NAMESPACE
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("way", WAYS)
def test_every_object_is_taken_as_it_is(restricted: str, way: str) -> None:
    for each in render(WAYS[way]):
        if each["kind"] not in OTHERS:
            assert refused_by_api_server(each, restricted) == "", each["metadata"]["name"]


@pytest.mark.parametrize("way", WAYS)
def test_pod_security_lets_all_but_agent_and_builder_in(restricted: str, way: str) -> None:
    (account,) = of_kind(render(WAYS[way]), "ServiceAccount")
    kubectl("-n", restricted, "apply", "-f", "-", stdin=json.dumps(account))
    for part, template in pods(render(WAYS[way])).items():
        metadata = {"name": f"try-{part}", "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        refusal = refused_by_api_server(pod, restricted)
        if part in WITH_RIGHTS:
            assert "violates PodSecurity" in refusal
        else:
            assert refusal == "", part


def test_a_right_too_many_is_refused(restricted: str) -> None:
    web = copy.deepcopy(pods(render(EXTERNAL))["web"]["spec"])
    del web["serviceAccountName"]
    web["containers"][0] = merged(
        web["containers"][0], {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "try-web"}, "spec": web}
    assert "violates PodSecurity" in refused_by_api_server(pod, restricted)


def test_an_unknown_field_is_refused(restricted: str) -> None:
    (service, *_) = of_kind(render(TRIAL), "Service")
    assert "unknown field" in refused_by_api_server(merged(service, {"spec": {"prots": []}}), restricted)
