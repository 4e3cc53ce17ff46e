"""Programs in an installation on a cluster: answers, limits, separation, and what the doctor finds on the node."""

import json

import pytest

from runtimes import smoke
from runtimes.manifests import Manifest, load_all
from tests.cluster.release import Caller, Release, given_values, run, within

# All that were pushed, or the core set.
OFFERED = given_values().get("runtimes", [each.slug for each in load_all() if each.core])
MANIFESTS = [each for each in load_all() if each.slug in OFFERED]


def test_ragflow_s_requests_are_answered_over_the_service(caller: Caller) -> None:
    told = caller.smoke()
    assert "python ok" in told
    assert "nodejs ok" in told


def offered(caller: Caller) -> set[str]:
    return {each["slug"] for each in caller.send("GET", "/api/v1/runtimes")["body"] if each["enabled"]}


def test_every_runtime_of_the_values_is_offered(release: Release, caller: Caller) -> None:
    (job, *_) = release.get("jobs", "-l", "app.kubernetes.io/component=migrate")["items"]
    variables = {
        each["name"]: each.get("value") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert set(variables["SANDBOX_BUILT_RUNTIMES"].split(",")) == offered(caller)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: str(manifest.slug))
def test_programs_of_each_language_end_as_its_manifest_says(caller: Caller, manifest: Manifest) -> None:
    programs = manifest.fields["smoke"]
    bodies = [{**smoke.submission(each, manifest.slug), "wait": 300} for each in programs]
    answers = caller.send_all([("POST", "/api/v1/executions", body) for body in bodies], at_once=4)
    for program, answer in zip(programs, answers, strict=True):
        assert answer.get("status") == 201, answer
        ended = answer["body"]
        listed = caller.send("GET", f"/api/v1/executions/{ended['id']}/artifacts")["body"]
        found = smoke.disagreements(program, ended, [each["name"] for each in listed])
        assert not found, (program["name"], found, ended["message"], ended["stderr"][:2000])


def test_a_program_knows_neither_the_cluster_nor_a_network(caller: Caller) -> None:
    code = (
        "import os, socket\n"
        "print([name for name in os.environ if 'KUBERNETES' in name or 'DATABASE' in name])\n"
        "print(os.path.exists('/var/run/secrets'))\n"
        "try:\n    socket.create_connection(('10.96.0.1', 443), 3)\n    print('connected')\n"
        "except OSError as e:\n    print('refused')\n"
    )
    ended = run(caller, code)
    assert ended["status"] == "succeeded"
    first, second, third = ended["stdout"].splitlines()
    assert (first, second, third) == ("[]", "False", "refused")


def test_a_memory_limit_ends_one_sandbox_and_not_the_agent(release: Release, caller: Caller) -> None:
    before = release.restarts()
    ended = run(caller, "x = []\nwhile True:\n    x.append(bytearray(2**24))\n")
    assert ended["status"] == "out_of_memory", ended
    assert release.restarts() == before
    assert run(caller, "print(1)")["status"] == "succeeded"


def test_a_time_limit_ends_a_program(caller: Caller) -> None:
    assert run(caller, "while True:\n    pass\n", limits={"wall_time_ms": 2000})["status"] == "timed_out"


def test_sandboxes_are_below_the_agents_own_cgroup(release: Release, caller: Caller) -> None:
    """So that the pod's limit holds for all of them together."""
    script = "import json, pathlib, sys\n" + (
        "tree = pathlib.Path('/sys/fs/cgroup')\n"
        "names = {p.name for p in pathlib.Path('/run/sandbox-platform/sandboxes').iterdir()}\n"
        "found = [str(p) for p in tree.rglob('*') if p.is_dir() and p.name in names]\n"
        "print(json.dumps([sorted(names), found]))\n"
    )

    def all_are() -> bool:
        # The pool changes meanwhile.
        names, found = json.loads(release.exec("agent", "python3", "-c", script))
        return bool(names) and {path.rpartition("/")[2] for path in found} == set(names)

    within(60, all_are)


def test_the_doctor_finds_nothing_broken_on_the_node(release: Release) -> None:
    """Among its checks: limits, seccomp's enforcement, the way out by doors, gateway and proxy, leftovers."""
    assert release.broken() == []


def test_the_agent_reads_no_secret_of_another_part(release: Release) -> None:
    files = release.exec("agent", "sh", "-c", "ls /run/secrets").split()
    assert sorted(files) == ["database_keeper", "database_worker", "otlp_headers"]


@pytest.mark.parametrize("target", ["kubernetes.default.svc", "sandbox-executor-manager"])
def test_an_agent_reaches_neither_the_clusters_api_nor_the_web(release: Release, target: str) -> None:
    """Only where the network plugin enforces NetworkPolicies: without one this fails, and so it should."""
    port = 443 if target.startswith("kubernetes") else 9385
    script = (
        f"import socket\naddress = socket.getaddrinfo({target!r}, {port})[0][4]\n"
        "try:\n    socket.create_connection(address, 5)\n    print('connected')\n"
        "except OSError:\n    print('not reached')\n"
    )
    assert release.exec("agent", "python3", "-c", script).strip() == "not reached"
