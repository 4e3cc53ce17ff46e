"""What each part of the chart is given: settings, secrets, probes, and what happens around its life."""

import json
import re
from typing import Any

import pytest
import yaml

from sandbox_platform.settings import ALLOWED_HOSTS
from tests.deploy.helm.rendering import (
    CHART,
    EXTERNAL,
    TRIAL,
    WAYS,
    WHOLE,
    containers,
    environment,
    merged,
    of_kind,
    part_of,
    pods,
    render,
    secret_keys,
)
from tests.deploy.prometheus import NAME, known
from tests.live import ROOT

MANUAL = (ROOT / "docs/kubernetes.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SETTINGS = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
# Set by the chart itself, or by what takes their place in Kubernetes.
ELSEWHERE = {
    "DATABASE_URL", "DATABASE_PASSWORD", "SANDBOX_DATABASE_ROLE_PREFIX", "SANDBOX_SERVICE", "SANDBOX_NODE",
    "SANDBOX_WORKERS", "SANDBOX_STARTS", "SANDBOX_IMAGE_DISK", "SANDBOX_ALIVE_DIR", "SANDBOX_BUILT_RUNTIMES",
    "OTEL_TRACES_SAMPLER", "SANDBOX_EGRESS_PROXY", "SANDBOX_EGRESS_LISTEN", "SANDBOX_EGRESS_GATEWAY",
    "DJANGO_ALLOWED_HOSTS",
    # Of Docker's host: names, addresses, its socket, its cgroups.
    "SANDBOX_WEB_CONTAINER", "SANDBOX_EXECUTOR_MANAGER_BIND", "SANDBOX_EXECUTOR_MANAGER_PORT", "SANDBOX_WEB_MEMORY",
    "DOCKER_HOST", "SANDBOX_ENGINE_REASON", "SANDBOX_CGROUP_ROOT",
    # The key and the file are on a volume of their own; and nobody debugs in a cluster.
    "SANDBOX_SEAL_KEY", "SANDBOX_HEADS", "DJANGO_DEBUG",
    # For the upgrade from 0.1, which Kubernetes never ran.
    "SANDBOX_CALLBACK_KEY of migrate",
}  # fmt: skip
# Container of the chart, by the service of Compose.
SERVICES = {
    "web": ("web", "web"),
    "migrate": ("migrate", "migrate"),
    "callbacks": ("callbacks", "callbacks"),
    "egress": ("egress", "gateway"),
    "proxy": ("egress", "proxy"),
    "worker": ("agent", "agent"),
    "keeper": ("agent", "agent"),
}
ALL_SETTINGS = merged(WHOLE, {"settings": dict.fromkeys(SETTINGS, "1")})


def names(variables: Any, service: str) -> set[str]:
    plain = {name.removesuffix("_FILE") for name in variables}
    if service == "migrate":
        plain -= {"SANDBOX_CALLBACK_KEY"}
    return plain - ELSEWHERE


@pytest.mark.parametrize("service", SERVICES)
def test_settings_are_those_of_the_service_in_compose(service: str) -> None:
    part, name = SERVICES[service]
    ours = names(environment(containers(pods(render(ALL_SETTINGS))[part])[name]), service)
    theirs = names(COMPOSE[service]["environment"], service)
    assert theirs <= ours
    assert {each for each in ours - theirs if each in SETTINGS} == set()


def test_settings_are_all_those_of_compose() -> None:
    every = {
        name for each in COMPOSE.values() for name in each.get("environment", {}) if not name.endswith("_FILE")
    }
    assert set(SETTINGS) == every - ELSEWHERE


SECRETS = {
    "web": {"database_web", "django_secret_key", "callback_key", "metrics_token", "oidc_client_secret", "otlp_headers"},
    "callbacks": {"database_callbacks", "callback_key", "email_password", "otlp_headers"},
    "agent": {"database_worker", "database_keeper", "otlp_headers", ".dockerconfigjson"},
    "gateway": {"database_egress", "egress", "egress_nodes", "otlp_headers"},
    "proxy": {"egress"},
    "doors": set(),
    "egress-key": {"egress_nodes"},
    "seal": {"database_keeper"},
    "postgres": {"database_owner"},
    "migrate": {
        "database_owner", "database_web", "database_worker", "database_keeper", "database_callbacks",
        "database_egress", "admin_password", "api_token", "oidc_client_secret",
    },
}  # fmt: skip


def test_each_container_reads_its_own_secrets_only() -> None:
    found: dict[str, set[str]] = {}
    for pod in pods(render(TRIAL)).values():
        for name, container in containers(pod).items():
            if name != "await-migrations":
                found[name] = secret_keys(pod, container)
    assert found == SECRETS


def test_whoever_waits_for_the_migrations_reads_what_its_service_reads() -> None:
    for part, pod in pods(render(TRIAL)).items():
        if waiting := containers(pod).get("await-migrations"):
            assert secret_keys(pod, waiting) <= SECRETS[{"egress": "gateway"}.get(part, part)]


@pytest.mark.parametrize("values", [TRIAL, merged(TRIAL, {"builder": {"enabled": True, "pushSecret": "p"}})])
def test_the_secret_of_the_chart_has_every_key_that_is_read(values: dict[str, Any]) -> None:
    objects = render(values)
    (secret,) = of_kind(objects, "Secret")
    every = {
        key for pod in pods(objects).values() for one in containers(pod).values() for key in secret_keys(pod, one)
    }
    assert set(secret["data"]) == every - {".dockerconfigjson", "*"}
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_manual_names_every_key_of_a_secret_of_ones_own() -> None:
    (section,) = re.findall(r"^### Secrets\n(.+?)(?=^## )", MANUAL, re.MULTILINE | re.DOTALL)
    told = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", section))
    every = {
        key
        for values in (TRIAL, WHOLE)
        for pod in pods(render(values)).values()
        for one in containers(pod).values()
        for key in secret_keys(pod, one)
    }
    assert told == every - {".dockerconfigjson", "*"}


def test_the_chart_makes_no_secret_beside_ours() -> None:
    objects = render(EXTERNAL)
    assert not of_kind(objects, "Secret")
    used = {
        source["secret"]["name"]
        for pod in pods(objects).values()
        for volume in pod["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    }
    assert used == {"ours"}


def test_the_owners_password_may_be_in_another_secret() -> None:
    values = merged(EXTERNAL, {"postgres": {"external": {"passwordSecret": {"name": "db", "key": "pw"}}}})
    volume = pods(render(values))["migrate"]["spec"]["volumes"][0]
    assert {"secret": {"name": "db", "items": [{"key": "pw", "path": "database_owner"}]}} in volume["projected"][
        "sources"
    ]


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_in_a_variable(way: str) -> None:
    for pod in pods(render(WAYS[way])).values():
        for container in containers(pod).values():
            for name, value in environment(container).items():
                assert not re.search(r"PASSWORD$|SECRET$|KEY$|TOKEN$", name), name
                assert "secretKeyRef" not in json.dumps(value)


def test_the_url_of_the_database_has_no_password_and_checks_the_server() -> None:
    env = environment(containers(pods(render(EXTERNAL))["web"])["web"])
    assert env["DATABASE_URL"] == (
        "postgresql://sandbox@db.example.com:5432/sandbox?sslmode=verify-full&sslrootcert=/run/database-ca/ca.crt"
    )


# --- Migrations ---


def migration(values: dict[str, Any], *options: str) -> dict[str, Any]:
    (job,) = of_kind(render(values, *options), "Job")
    return job


def test_migrations_are_a_hook_where_database_and_secrets_are_there_before() -> None:
    job = migration(EXTERNAL)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # Nothing else of the chart exists yet.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "values",
    [
        TRIAL,
        merged(EXTERNAL, {"migrations": {"hook": "never"}}),
        merged(
            EXTERNAL,
            {"secrets": {"existingSecret": ""}, "postgres": {"external": {"passwordSecret": {"name": "db"}}}},
        ),
    ],
)
def test_migrations_are_part_of_the_release_otherwise(values: dict[str, Any]) -> None:
    assert "annotations" not in migration(values)["metadata"]


def test_what_migrates_waits_for_postgres_and_makes_the_roles_before_the_rows() -> None:
    (script,) = migration(TRIAL)["spec"]["template"]["spec"]["containers"][0]["command"][2:]
    steps = re.findall(r"manage\.py (\S+)", script)
    assert steps == ["await_migrations", "migrate", "grant_roles", "bootstrap"]


def test_every_service_waits_for_the_migrations() -> None:
    waiting = {part for part, pod in pods(render(WHOLE)).items() if "await-migrations" in containers(pod)}
    assert waiting == {"web", "agent", "callbacks", "egress", "builder", "seal"}


# --- Web ---


def test_ragflow_finds_the_web_under_its_default_name() -> None:
    (service,) = [each for each in of_kind(render(EXTERNAL), "Service") if part_of(each) == "web"]
    assert (service["metadata"]["name"], service["spec"]["ports"][0]["port"]) == ("sandbox-executor-manager", 9385)
    assert "sandbox-executor-manager" in ALLOWED_HOSTS


@pytest.mark.parametrize("way", WAYS)
def test_links_of_services_set_no_variables(way: str) -> None:
    """Kubernetes would set SANDBOX_EXECUTOR_MANAGER_PORT, which is a setting, to an address."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(render(WAYS[way])).values())


def test_the_web_answers_to_the_names_of_the_cluster_and_of_the_ingress() -> None:
    env = environment(containers(pods(render(WHOLE))["web"])["web"])
    assert env["DJANGO_ALLOWED_HOSTS"].split(",") == [
        "$(POD_IP)",
        "sandbox-executor-manager.sandbox",
        "sandbox-executor-manager.sandbox.svc",
        "sandbox-executor-manager.sandbox.svc.cluster.local",
        "sandbox.example.com",
    ]
    assert (env["DJANGO_HTTPS"], env["DJANGO_CSRF_TRUSTED_ORIGINS"]) == ("True", "https://sandbox.example.com")


def test_the_address_of_the_pod_is_set_before_it_is_used() -> None:
    """Kubernetes puts in only what stands before in the list."""
    variables = [each["name"] for each in containers(pods(render(TRIAL))["web"])["web"]["env"]]
    assert variables.index("POD_IP") < variables.index("DJANGO_ALLOWED_HOSTS")


def test_the_console_is_not_for_https_only_without_a_certificate() -> None:
    values = merged(EXTERNAL, {"ingress": {"enabled": True, "hosts": ["a.example.com"]}})
    assert "DJANGO_HTTPS" not in environment(containers(pods(render(values))["web"])["web"])


def test_no_web_pod_ends_before_another_serves() -> None:
    (web,) = [each for each in of_kind(render(TRIAL), "Deployment") if part_of(each) == "web"]
    assert web["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    container = containers(web["spec"]["template"])["web"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pause >= 5


def test_the_number_of_web_pods_is_left_to_their_autoscaler() -> None:
    objects = render(WHOLE)
    (web,) = [each for each in of_kind(objects, "Deployment") if part_of(each) == "web"]
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert "replicas" not in web["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == web["metadata"]["name"]
    assert [each["type"] for each in scaler["spec"]["metrics"]] == ["Resource", "External"]
    assert scaler["spec"]["metrics"][1]["external"]["metric"]["name"] in known()


# --- Agents ---


def test_an_agent_of_a_daemon_set_is_named_after_its_node() -> None:
    assert environment(containers(pods(render(TRIAL))["agent"])["agent"])["SANDBOX_NODE"] == {
        "fieldRef": {"fieldPath": "spec.nodeName"}
    }


def test_agents_of_a_deployment_have_names_of_their_own() -> None:
    """Several may be on one node."""
    for name in ("agent", "doors", "egress-key"):
        env = environment(containers(pods(render(WHOLE))["agent"])[name])
        assert env["SANDBOX_NODE"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_an_agent_is_as_large_as_its_container() -> None:
    env = environment(containers(pods(render(merged(TRIAL, {"agent": {"workers": "auto"}})))["agent"])["agent"])
    assert env["SANDBOX_WORKERS"] == "auto"
    for name, resource in (("SANDBOX_NODE_CPUS", "limits.cpu"), ("SANDBOX_NODE_MEMORY", "limits.memory")):
        assert env[name] == {"resourceFieldRef": {"containerName": "agent", "resource": resource}}


def test_the_end_of_an_agent_leaves_time_for_its_runs() -> None:
    spec = pods(render(merged(TRIAL, {"agent": {"drainSeconds": 300}})))["agent"]["spec"]
    command = containers({"spec": spec})["agent"]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["python3", "manage.py", "drain_node", "--wait", "300s"]
    assert spec["terminationGracePeriodSeconds"] >= 300 + 60


def test_the_doors_are_there_until_the_agent_has_ended() -> None:
    """Kubernetes ends ordinary containers of a pod at the same time, and runs of a draining agent would lose them."""
    (doors,) = [each for each in pods(render(TRIAL))["agent"]["spec"]["initContainers"] if each["name"] == "doors"]
    assert doors["restartPolicy"] == "Always"
    # It waits for a folder that the agent makes, which starts after it.
    assert "startupProbe" not in doors


def test_the_end_of_a_web_pod_leaves_time_for_requests_that_wait() -> None:
    spec = pods(render(merged(TRIAL, {"web": {"drainSeconds": 300}})))["web"]["spec"]
    assert environment(containers({"spec": spec})["web"])["GUNICORN_CMD_ARGS"] == "--graceful-timeout 300"
    assert spec["terminationGracePeriodSeconds"] >= 10 + 300


def test_a_restart_of_postgres_does_not_restart_an_agent() -> None:
    probe = containers(pods(render(TRIAL))["agent"])["agent"]["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300


def test_agents_pull_with_the_clusters_secret_unless_they_have_one() -> None:
    def secret(values: dict[str, Any]) -> list[str]:
        volumes = pods(render(values))["agent"]["spec"]["volumes"]
        return [each["secret"]["secretName"] for each in volumes if each["name"] == "registry-auth"]

    assert secret(TRIAL) == ["pull"]
    assert secret(merged(TRIAL, {"runtimeImages": {"authSecret": "only-pulls"}})) == ["only-pulls"]
    assert secret(merged(TRIAL, {"images": {"pullSecrets": []}})) == []


@pytest.mark.parametrize("part", ["web", "migrate", "agent", "builder"])
def test_those_who_must_know_how_images_are_built_agree(part: str) -> None:
    env = environment(containers(pods(render(WHOLE))[part])[part])
    assert (env["SANDBOX_BUILDER"], env["SANDBOX_IMAGE_SOURCE"]) == ("buildah", "registry")
    assert env["SANDBOX_IMAGE_REGISTRY"] == "registry.example.com/sandbox"


@pytest.mark.parametrize("way", ["whole", "archive"])
def test_agents_are_scaled_by_a_figure_that_exists(way: str) -> None:
    objects = render(WAYS[way])
    (agents,) = [each for each in of_kind(objects, "Deployment") if part_of(each) == "agent"]
    assert "replicas" not in agents["spec"]
    scaler = next(
        each
        for each in objects
        if each["kind"] in ("ScaledObject", "HorizontalPodAutoscaler") and part_of(each) == "agent"
    )
    assert scaler["spec"]["scaleTargetRef"]["name"] == agents["metadata"]["name"]
    asked = set(NAME.findall(json.dumps(scaler["spec"])))
    assert asked == {"sandbox_wanted_slots"} <= known()
    # As many runs as one agent has slots.
    assert '"8"' in json.dumps(scaler["spec"])


def test_prometheus_calls_the_platform_as_the_shipped_rules_do() -> None:
    (monitor,) = of_kind(render(WHOLE), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    (label,) = endpoint["relabelings"]
    (job,) = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert label == {"targetLabel": "job", "replacement": job["job_name"]}
    assert endpoint["authorization"]["credentials"] == {"name": "ours", "key": "metrics_token"}
    (service,) = [each for each in of_kind(render(WHOLE), "Service") if part_of(each) == "web"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


# --- Images ---


def test_a_digest_decides_over_a_tag() -> None:
    digest = f"sha256:{'a' * 64}"
    values = merged(TRIAL, {"images": {"tag": "1.0", "platform": {"digest": digest}}})
    found = pods(render(values))
    assert containers(found["web"])["web"]["image"] == f"registry.example.com/sandbox/platform@{digest}"
    assert containers(found["agent"])["agent"]["image"] == "registry.example.com/sandbox/agent:1.0"
