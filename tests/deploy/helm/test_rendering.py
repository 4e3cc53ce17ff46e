"""The chart is well-formed in each way of installing it, and refuses values that cannot work."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

from tests.cluster import images, release
from tests.deploy.helm.rendering import (
    CHART,
    EXTERNAL,
    TRIAL,
    WAYS,
    containers,
    merged,
    of_kind,
    part_of,
    pods,
    refusal,
    render,
    run_helm,
)

# The oldest that Chart.yaml names, and those that the tests on a cluster use.
KUBERNETES = ("1.30", "1.35", "1.37")
# Kinds of operators that a cluster need not have: their schemas are not Kubernetes' own.
OTHERS = {"ServiceMonitor", "ScaledObject"}


@pytest.mark.parametrize("way", WAYS)
def test_helm_finds_no_fault(way: str) -> None:
    done = run_helm("lint", "--strict", str(CHART), values=WAYS[way])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_knows_every_field(way: str, version: str) -> None:
    objects = [each for each in render(WAYS[way]) if each["kind"] not in OTHERS]
    assert len(objects) > 10
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    (service, *_) = of_kind(render(TRIAL), "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(merged(service, {"spec": {"prots": []}}), KUBERNETES[0], strict=True)


def test_chart_and_platform_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (settings.VERSION, settings.VERSION)


@pytest.mark.parametrize("way", WAYS)
def test_objects_have_names_of_their_own(way: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in render(WAYS[way])]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("way", WAYS)
def test_no_variable_is_set_twice(way: str) -> None:
    """Helm's server-side apply refuses a list with two entries of one name."""
    for pod in pods(render(WAYS[way])).values():
        for container in containers(pod).values():
            names = [each["name"] for each in container.get("env", ())]
            assert len(set(names)) == len(names), container["name"]


@pytest.mark.parametrize("way", WAYS)
def test_every_mount_has_its_volume(way: str) -> None:
    for pod in pods(render(WAYS[way])).values():
        mounts = {each["name"] for one in containers(pod).values() for each in one.get("volumeMounts", ())}
        names = [each["name"] for each in pod["spec"]["volumes"]]
        assert mounts == set(names)
        assert len(set(names)) == len(names)


def test_the_chart_takes_the_values_of_the_tests_on_a_cluster() -> None:
    values = merged(images.values(["c", "python"], Path("/var/tmp/archives")), release.VALUES)
    assert containers(pods(render(values))["agent"])["agent"]["image"] == "sandbox-platform/agent:latest"
    scaled = render(merged(values, {"agent": {"kind": "Deployment", "replicas": 0}}))
    (agents,) = [each for each in of_kind(scaled, "Deployment") if part_of(each) == "agent"]
    assert agents["spec"]["replicas"] == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no database": ({"postgres": {"trial": {"enabled": False}}}, "postgres.external.host is empty"),
    "no password of the owner": (
        {"postgres": {"trial": {"enabled": False}, "external": {"host": "db"}}},
        "postgres.external.passwordSecret.name is empty",
    ),
    "a server that nothing verifies": (
        {
            "postgres": {
                "trial": {"enabled": False},
                "external": {"host": "db", "passwordSecret": {"name": "db"}},
            }
        },
        "postgres.external.ca.name is empty",
    ),
    "two databases": ({"postgres": {"external": {"host": "db"}}}, "exclude each other"),
    "a hook without a database": ({"migrations": {"hook": "always"}}, "migrations.hook=always needs"),
    "no registry": ({"images": {"registry": ""}}, "images.registry is empty"),
    "a registry with a scheme": ({"images": {"registry": "https://r.example.com"}}, "/images/registry"),
    "a digest that is none": ({"images": {"agent": {"digest": "sha256:1"}}}, "/images/agent/digest"),
    "a setting that is none": ({"settings": {"SANDBOX_TIMEOTU": "1s"}}, "SANDBOX_TIMEOTU"),
    "a secret among the settings": ({"settings": {"DJANGO_SECRET_KEY": "x"}}, "DJANGO_SECRET_KEY"),
    "a setting that the chart sets": ({"settings": {"SANDBOX_NODE": "x"}}, "SANDBOX_NODE"),
    "a value that is none": ({"agent": {"worker": 3}}, "worker"),
    "an unknown kind of agents": ({"agent": {"kind": "Pod"}}, "'DaemonSet', 'Deployment'"),
    "scaling by a number that is not known": (
        {"agent": {"kind": "Deployment", "workers": "auto", "autoscaling": {"type": "hpa"}}},
        "needs a number in agent.workers",
    ),
    "scaling of a DaemonSet": ({"agent": {"autoscaling": {"type": "hpa"}}}, "needs agent.kind=Deployment"),
    "KEDA without Prometheus": (
        {"agent": {"kind": "Deployment", "autoscaling": {"type": "keda"}}},
        "agent.autoscaling.prometheus is empty",
    ),
    "an HPA down to zero": (
        {"agent": {"kind": "Deployment", "autoscaling": {"type": "hpa", "minReplicas": 0}}},
        "minReplicas=0 needs",
    ),
    "no archives": ({"runtimeImages": {"source": "archive"}}, "runtimeImages.archives is empty"),
    "a builder without a registry": (
        {"builder": {"enabled": True}, "runtimeImages": {"source": "archive", "archives": {"claim": "a"}}},
        "needs runtimeImages.source=registry",
    ),
    "a builder that may not push": ({"builder": {"enabled": True}}, "builder.pushSecret is empty"),
    "an Ingress without hosts": ({"ingress": {"enabled": True}}, "ingress.hosts is empty"),
    "a network that is none": ({"networkPolicy": {"registry": {"networks": ["10.0.0.1"]}}}, "/registry/networks"),
}


@pytest.mark.parametrize("values", REFUSED)
def test_values_that_cannot_work_are_refused_by_name(values: str) -> None:
    changes, message = REFUSED[values]
    assert message in refusal(merged(TRIAL, changes))


def notes(values: dict[str, Any]) -> str:
    done = run_helm("install", "try", str(CHART), "--namespace", "box", "--dry-run=client", values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def test_notes_say_how_to_reach_it_and_where_the_secrets_are() -> None:
    told = notes(TRIAL)
    assert "http://sandbox-executor-manager.box:9385" in told
    assert "get secret try-sandbox-platform " in told
    assert "FOR TRYING OUT" in told


def test_notes_of_an_installation_with_an_ingress_name_its_host() -> None:
    told = notes(merged(EXTERNAL, {"ingress": {"enabled": True, "hosts": ["a.example.com"], "tls": "t"}}))
    assert "https://a.example.com/admin/" in told
    assert "get secret ours " in told
    assert "TRYING OUT" not in told
