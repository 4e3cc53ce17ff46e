"""Every service of the Compose files has the least that it can run with. A new one fails here until it is listed."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import override_settings

from sandbox_platform.kit.heartbeat import Heartbeat
from sandboxes import doors
from scripts.setup.docker import FOLDERS, command
from tests.live import ROOT

FILES = {path.name: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("docker-compose*.yml"))}
SERVICES: dict[str, dict[str, Any]] = FILES["docker-compose.yml"]["services"]
ALL = FILES["docker-compose.tls.yml"]["services"] | SERVICES
NAMES = {"postgres", "migrate", "web", "worker", "keeper", "callbacks", "egress", "proxy", "tls"}
# The image's Dockerfile, whose last USER the service runs as.
DOCKERFILES = {
    "sandbox-platform/platform:latest": "Dockerfile",
    "sandbox-platform/postgres:latest": "images/postgres/Dockerfile",
    "sandbox-platform/egress:latest": "images/egress/Dockerfile",
    "sandbox-platform/tls:latest": "images/tls/Dockerfile",
}
ENDS = {"migrate"}  # runs once
# What an overlay may change of a service of docker-compose.yml.
OVERLAYS = {
    "docker-compose.direct.yml": {
        "worker": {"user", "pid", "cgroup", "cap_add", "security_opt", "environment", "volumes"},
        "keeper": {"user", "pid", "cgroup", "cap_add", "security_opt", "environment", "volumes"},
    },
    "docker-compose.hosts.yml": {"postgres": {"environment", "secrets", "ports", "networks"}},
    "docker-compose.monitoring.yml": dict.fromkeys(
        ("web", "worker", "keeper", "callbacks", "egress"), {"networks"}
    ),
    "docker-compose.ragflow.yml": {"web": {"networks"}},
    "docker-compose.tls.yml": {
        "web": {"environment", "networks"},
        "migrate": {"environment"},
        "callbacks": {"environment"},
    },
    "docker-compose.worker.yml": {
        **dict.fromkeys(("postgres", "migrate", "web", "callbacks"), {"profiles"}),
        **dict.fromkeys(("worker", "keeper", "egress"), {"secrets", "environment", "depends_on"}),
    },
}
each_service = pytest.mark.parametrize("service", ALL.values(), ids=ALL)


def test_services_are_those_that_this_file_knows() -> None:
    assert set(ALL) == NAMES
    assert set(FILES) == {"docker-compose.yml", *OVERLAYS}


@each_service
def test_service_has_no_rights_to_spare(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.keys() & {
        "cap_add",
        "privileged",
        "devices",
        "pid",
        "ipc",
        "network_mode",
        "userns_mode",
    }


def test_egress_is_another_user_than_worker_and_keeper_whose_folders_it_must_not_replace() -> None:
    assert {name: service["user"] for name, service in ALL.items() if "user" in service} == {
        "egress": "10002:10002"
    }
    assert FOLDERS[Path("/var/lib/sandbox-platform/doors")] == ("10001:10002", "2750")


@each_service
def test_image_s_user_is_not_root(service: dict[str, Any]) -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / DOCKERFILES[service["image"]]).read_text(), re.MULTILINE)
    assert users[-1:] not in ([], ["root"], ["0"])


@each_service
def test_image_is_ours_and_never_pulled(service: dict[str, Any]) -> None:
    assert service["pull_policy"] == "never"


@each_service
def test_logs_are_rotated(service: dict[str, Any]) -> None:
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@each_service
def test_memory_cpu_and_processes_are_limited(service: dict[str, Any]) -> None:
    assert {"mem_limit", "cpu_quota", "pids_limit"} <= service.keys()


@pytest.mark.parametrize("name", ALL)
def test_service_is_restarted_and_its_health_is_known(name: str) -> None:
    if name in ENDS:
        assert ALL[name]["restart"] == "no"
    else:
        assert ALL[name]["restart"] == "unless-stopped"
        assert ALL[name]["healthcheck"]["test"][0] == "CMD"


def test_health_of_egress_is_asked_of_the_socket_that_it_listens_on() -> None:
    pattern = SERVICES["egress"]["healthcheck"]["test"][-2]
    assert re.search(pattern, f"0000: 00000002 00000000 00010000 0001 01 9 {doors.root() / doors.CONTROL}")


@pytest.mark.parametrize("service", ["worker", "keeper", "callbacks"])
def test_health_is_asked_of_the_file_that_the_service_renews(service: str, tmp_path: Path) -> None:
    assert SERVICES[service]["environment"]["SANDBOX_ALIVE_DIR"] == "/tmp"  # noqa: S108
    _, *check = SERVICES[service]["healthcheck"]["test"]
    line = check.pop().replace("$$", "$").replace("/tmp", str(tmp_path))
    is_healthy = lambda: subprocess.run([*check, line], check=False, stderr=subprocess.DEVNULL).returncode == 0  # noqa: E731
    assert not is_healthy()
    with override_settings(SANDBOX_ALIVE_DIR=str(tmp_path)):
        Heartbeat(service).beat()
    assert is_healthy()
    os.utime(tmp_path / f"alive.{service}", (0, 0))
    assert not is_healthy()


def test_only_the_web_is_published_and_on_loopback_unless_told() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "web": ["${SANDBOX_EXECUTOR_MANAGER_BIND:-127.0.0.1}:${SANDBOX_EXECUTOR_MANAGER_PORT:-9385}:9385"]
    }


def test_docker_s_socket_is_where_the_engine_is() -> None:
    holders = {name for name, each in ALL.items() if any("docker.sock" in str(v) for v in each.get("volumes", ()))}
    assert holders == {"worker", "keeper"}


def test_secrets_are_files() -> None:
    assert all(set(each) == {"file"} for file in FILES.values() for each in file.get("secrets", {}).values())


@pytest.mark.parametrize("file", OVERLAYS)
def test_overlay_changes_what_is_listed_only(file: str) -> None:
    changed = {name: set(keys) for name, keys in FILES[file]["services"].items() if name in SERVICES}
    assert all(keys <= OVERLAYS[file].get(name, set()) for name, keys in changed.items()), changed


def test_database_is_published_on_a_named_address_only_and_over_tls() -> None:
    postgres = FILES["docker-compose.hosts.yml"]["services"]["postgres"]
    (port,) = postgres["ports"]
    # ":?": Compose refuses to start the stack without it.
    assert port.startswith("${SANDBOX_DATABASE_BIND:?")
    assert postgres["environment"]["SANDBOX_DATABASE_TLS"] == "yes"
    published = {
        file for file, content in FILES.items() for each in content["services"].values() if "ports" in each
    }
    assert published == {"docker-compose.yml", "docker-compose.hosts.yml", "docker-compose.tls.yml"}


def as_compose_understands(overlay: str) -> dict[str, Any]:
    files = [word for name in ("docker-compose.yml", overlay) for word in ("-f", name)]
    told = {"SANDBOX_NODE": "n2", "DOCKER_GID": "1", "COMPOSE_PROFILES": "", "SANDBOX_DATABASE_BIND": "192.0.2.7"}
    line = [*command("compose", *files, "config", "--format", "json")]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | told, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_network_that_publishes_the_database_leads_nowhere() -> None:
    found = as_compose_understands("docker-compose.hosts.yml")
    assert set(found["services"]["postgres"]["networks"]) == {"database", "hosts"}
    assert found["networks"]["database"]["internal"] is True
    options = found["networks"]["hosts"]["driver_opts"]
    assert options["com.docker.network.bridge.enable_ip_masquerade"] == "false"


@pytest.mark.parametrize(
    ("overlay", "network"), [("docker-compose.hosts.yml", "hosts"), ("docker-compose.worker.yml", "database")]
)
def test_the_rules_of_the_documentation_are_for_networks_that_there_are(overlay: str, network: str) -> None:
    bridge = as_compose_understands(overlay)["networks"][network]["driver_opts"]["com.docker.network.bridge.name"]
    assert len(bridge) <= 15  # the kernel's limit
    assert f"DOCKER-USER -i {bridge} " in (ROOT / "docs/hosts.md").read_text()


def test_a_joined_host_runs_what_runs_programs_and_publishes_nothing() -> None:
    joined = as_compose_understands("docker-compose.worker.yml")["services"]
    assert set(joined) == {"worker", "keeper", "egress", "proxy"}
    assert not any("ports" in each for each in joined.values())
    for name in ("worker", "keeper", "egress"):
        sources = {each["source"] for each in joined[name]["secrets"] if each["source"].startswith("database_")}
        assert sources == {"database_url", "database_ca", f"database_{name}"}
        assert joined[name]["environment"]["SANDBOX_JOINED"] == "True"
        assert joined[name]["read_only"] is True and joined[name]["cap_drop"] == ["ALL"]


def test_capabilities_of_the_direct_engine_are_those_of_the_documentation() -> None:
    documented = set(re.findall(r"`([A-Z_]{4,})`", _table(ROOT / "docs/security.md")))
    for service in FILES["docker-compose.direct.yml"]["services"].values():
        assert set(service["cap_add"]) == documented


def _table(path: Path) -> str:
    text = path.read_text()
    return text[text.index("| right | why |") : text.index("The containers are not privileged")]
