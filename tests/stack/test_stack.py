"""The Compose stack as `make` starts it."""

import base64
import json
import subprocess

import pytest
import requests
from django.test import override_settings

from sandboxes import doors
from scripts.setup.docker import command
from tests.live import eventually

pytestmark = [pytest.mark.needs_docker, pytest.mark.needs_stack]

SERVICES = ("postgres", "web", "worker", "keeper", "callbacks", "egress", "proxy")
PROGRAMS = {
    "python": "def main(name): return 'hello ' + name",
    "nodejs": "async function main({ name }) { return 'hello ' + name }",
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_runs_through_the_stack(stack, language):
    code = base64.b64encode(PROGRAMS[language].encode()).decode()
    body = {"code_b64": code, "language": language, "arguments": {"name": "you"}}
    answer = requests.post(
        f"{stack.url}/run", json=body, headers={"Authorization": f"Bearer {stack.token}"}, timeout=60
    )
    assert answer.json()["result"]["value"] == "hello you"


@pytest.mark.parametrize("service", ["web", "callbacks"])
def test_what_speaks_to_the_outside_has_no_docker_socket(stack, service):
    folders = {mount["Destination"].rpartition("/")[0] for mount in stack.inspect(service)["Mounts"]}
    assert folders == {"/run/secrets"}
    look = stack.compose("exec", "-T", service, "sh", "-c", "find / -xdev -name 'docker*.sock' 2>/dev/null")
    assert look.stdout == ""


@pytest.mark.parametrize("service", ["web", "worker", "keeper", "callbacks", "postgres"])
def test_every_container_is_hardened(stack, service):
    host = stack.inspect(service)["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert "no-new-privileges:true" in host["SecurityOpt"]


@pytest.mark.parametrize("service", ["web", "worker", "keeper", "callbacks", "postgres"])
def test_no_container_runs_as_root(stack, service):
    status = stack.compose("exec", "-T", service, "grep", "^Uid:", "/proc/1/status").stdout
    assert "0" not in status.split()[1:]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_tells_that_it_is_healthy(stack, service):
    eventually(
        lambda: stack.inspect(service)["State"]["Health"]["Status"] == "healthy", f"{service} is healthy", 180
    )


@pytest.mark.parametrize("service", ["worker", "keeper", "callbacks", "postgres"])
def test_only_the_web_service_is_published(stack, service):
    assert not stack.inspect(service)["HostConfig"]["PortBindings"]


def test_the_web_service_is_published_on_loopback_only(stack):
    (binding,) = stack.inspect("web")["HostConfig"]["PortBindings"]["9385/tcp"]
    assert binding["HostIp"] == "127.0.0.1"


def test_the_database_network_has_no_way_out(stack):
    attached = stack.inspect("postgres")["NetworkSettings"]["Networks"]
    assert list(attached) == [f"{stack.node}_database"]
    config = stack.compose("config", "--format", "json").stdout
    assert '"internal": true' in config


def test_image_has_the_licence_of_each_browser_package(stack):
    packages = requests.get(f"{stack.url}/static/vendor/packages.json", timeout=10).json()
    texts = stack.compose("exec", "-T", "web", "ls", "/licenses").stdout.split()
    assert {f"{package['name'].replace('/', '+')}.txt" for package in packages} == set(texts) != set()


def test_editor_is_sent_compressed(stack):
    answer = requests.get(f"{stack.url}/static/vendor/editor.js", headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "codeEditor" in answer.text


def test_the_doctor_finds_nothing_broken_in_the_worker(stack):
    done = stack.compose("exec", "-T", "worker", "python3", "manage.py", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_whose_sentinel_died_is_started_anew(stack):
    def sentinel():
        # The first child of the container's first process.
        return stack.compose("exec", "-T", "worker", "cut", "-d ", "-f1", "/proc/1/task/1/children").stdout.strip()

    before = sentinel()
    stack.compose("exec", "-T", "worker", "sh", "-c", f"kill -9 {before}")
    eventually(lambda: sentinel() not in ("", before), "another sentinel")
    eventually(stack.is_ready, "the stack is ready again")


def test_the_proxy_reaches_of_the_stack_the_gateway_alone(stack):
    attached = {service: set(stack.inspect(service)["NetworkSettings"]["Networks"]) for service in SERVICES}
    others = set().union(*(attached[service] for service in SERVICES if service not in ("egress", "proxy")))
    assert attached["proxy"] & others == set()
    assert attached["proxy"] & attached["egress"] == {f"{stack.node}_doors"}


def test_the_gateway_has_no_way_out(stack):
    for network in stack.inspect("egress")["NetworkSettings"]["Networks"]:
        found = subprocess.run(command("network", "inspect", network), capture_output=True, text=True, check=True)
        assert json.loads(found.stdout)[0]["Internal"] is True


@pytest.mark.parametrize("service", ["egress", "proxy"])
def test_who_stands_behind_the_doors_has_no_docker(stack, service):
    assert not any("docker.sock" in mount["Source"] for mount in stack.inspect(service)["Mounts"])


@pytest.mark.parametrize(
    "line", ["ln -s /etc {}/99999", "mkdir {}/99999", "mv {}/dark {}/99999", "touch {}/dark/door"]
)
def test_the_gateway_cannot_change_what_a_sandbox_mounts(stack, line):
    with override_settings(SANDBOX_NODE=stack.node):
        attempt = line.format(*[doors.root()] * 2)
    done = stack.compose("exec", "-T", "egress", "sh", "-c", attempt)
    assert (done.returncode, "Permission denied" in done.stderr) == (1, True), done.stderr


def test_the_proxy_knows_no_secret_but_the_gateways(stack):
    proxy = stack.inspect("proxy")
    told = [entry for entry in proxy["Config"]["Env"] if "_FILE=" not in entry]
    assert not any(word in entry for entry in told for word in ("PASSWORD", "SECRET", "TOKEN", "DATABASE"))
    # Its connections to the gateway begin with the one that it has.
    assert [mount["Destination"] for mount in proxy["Mounts"]] == ["/run/secrets/egress"]


def test_worker_gets_doors_and_the_proxy_refuses_addresses_inside(stack):
    code = "from sandbox_platform.doctor import service; print(service.egress('egress'))"

    def answers():
        said = stack.compose("exec", "-T", "worker", "python3", "manage.py", "shell", "-c", code).stdout
        return said if "<Status.OK" in said else None

    eventually(answers, "the gateway and the proxy answer")
