"""Faults and changes while programs run: nothing that was accepted is lost, and no program starts twice."""

import time
from typing import Any

from tests.cluster.node import Node
from tests.cluster.release import GONE_S, Caller, Release, answers_of, kubectl, within
from tests.deploy.helm.rendering import CHART

SUCCEEDED = "succeeded"
SHORT = "import time\ntime.sleep(1)\nprint('done')\n"
# A run that had begun when its agent was killed: its program is not started twice.
LOST = "worker_lost"


def begin(caller: Caller, number: int) -> Any:
    load = caller.under_load(number, SHORT)
    time.sleep(5)
    assert load.poll() is None, "the load was over before the fault"
    return load


def ends(answers: list[dict[str, Any]]) -> list[str]:
    """How each run ended, with the reason if it did not succeed; what the platform did not answer is among them."""

    def told(answer: dict[str, Any]) -> str:
        if answer.get("status") not in (200, 201):
            return f"no answer: {answer}"
        body = answer["body"]
        return SUCCEEDED if body["status"] == SUCCEEDED else f"{body['outcome']}: {body['message']}"

    return [told(each) for each in answers]


def serves(caller: Caller) -> bool:
    answer = caller.send("POST", "/api/v1/executions", {"runtime": "python", "code": "print(1)", "wait": 300})
    return answer.get("status") == 201 and answer["body"]["status"] == SUCCEEDED


def test_a_rollout_under_load_loses_no_run(release: Release, caller: Caller) -> None:
    load = begin(caller, 40)
    for what in ("deployment/{}-web", "deployment/{}-callbacks", "daemonset/{}-agent"):
        kubectl("-n", release.namespace, "rollout", "restart", what.format(release.prefix))
    release.wait_until_ready()
    assert ends(answers_of(load)) == [SUCCEEDED] * 40


def test_an_agent_that_is_killed_loses_only_what_had_begun(release: Release, caller: Caller) -> None:
    load = begin(caller, 40)
    (agent,) = release.pods("agent")
    kubectl("-n", release.namespace, "delete", "pod", agent, "--grace-period=0", "--force")
    release.wait_until_ready()
    answers = answers_of(load)
    # As many as ran at the same time, at most.
    lost = [each for each in answers if each.get("body", {}).get("outcome") == LOST]
    assert len(lost) <= 4
    assert ends([each for each in answers if each not in lost]) == [SUCCEEDED] * (40 - len(lost))
    within(GONE_S, lambda: serves(caller))


def test_worker_and_keeper_are_started_again_in_their_container(release: Release, caller: Caller) -> None:
    release.exec("agent", "sh", "-c", "kill -9 -1", check=False)
    within(GONE_S, lambda: serves(caller))


def test_a_web_pod_that_is_killed_is_replaced(release: Release, caller: Caller) -> None:
    kubectl("-n", release.namespace, "delete", "pod", release.pods("web")[0], "--grace-period=0", "--force")
    within(GONE_S, lambda: serves(caller))
    release.wait_until_ready()


def test_a_restart_of_postgres_is_survived(release: Release, caller: Caller) -> None:
    before = release.restarts()
    # The container, not the pod: its volume ends with the pod.
    release.exec("postgres", "sh", "-c", "kill -INT 1", check=False)
    within(GONE_S, lambda: release.restarts() > before)
    within(GONE_S, lambda: serves(caller))


def test_runs_wait_without_agents_and_end_with_the_first(release: Release, caller: Caller) -> None:
    release.upgrade({"agent": {"kind": "Deployment", "replicas": 0}})
    # Also none that is about to end: it may take a run before it learns of that.
    within(GONE_S, lambda: not release.get("pods", "-l", "app.kubernetes.io/component=agent")["items"])
    answer = caller.send("POST", "/api/v1/executions", {"runtime": "python", "code": "print(1)"})
    assert answer["status"] == 202, answer
    path = f"/api/v1/executions/{answer['body']['id']}"
    time.sleep(10)
    assert caller.send("GET", path)["body"]["status"] == "queued"
    release.upgrade({"agent": {"replicas": 1}})
    release.wait_until_ready()
    assert caller.send("GET", f"{path}?wait=300")["body"]["status"] == SUCCEEDED


def test_agents_share_the_work_of_one_queue(release: Release, caller: Caller) -> None:
    """Several on one node stand for several nodes: each run is claimed by one of them."""
    release.upgrade({"agent": {"replicas": 2}})
    release.wait_until_ready()
    answers = answers_of(caller.under_load(40, SHORT))
    assert ends(answers) == [SUCCEEDED] * 40
    paths = [("GET", f"/api/v1/executions/{each['body']['id']}", None) for each in answers]
    nodes = {each["body"]["node"] for each in caller.send_all(paths, at_once=4)}
    assert nodes == set(release.pods("agent"))


def test_an_upgrade_migrates_again_and_keeps_the_secrets(release: Release, caller: Caller) -> None:
    token = release.token()
    release.helm("upgrade", release.name, str(CHART))
    release.wait_until_ready()

    def all_have_migrated() -> bool:
        jobs = release.get("jobs", "-l", "app.kubernetes.io/component=migrate")["items"]
        return all(each["status"].get("succeeded") for each in jobs)

    within(GONE_S, all_have_migrated)
    assert release.token() == token
    assert serves(caller)


def test_uninstalling_leaves_only_what_cannot_be_made_again(release: Release) -> None:
    """The last test: nothing is installed after it."""
    node = Node(release)
    # Otherwise nothing would be found after it either.
    assert all(node.has().values())
    release.uninstall()
    kinds = "pods,deployments,daemonsets,statefulsets,jobs,services,networkpolicies,configmaps,serviceaccounts"
    selector = f"app.kubernetes.io/instance={release.name}"
    within(GONE_S, lambda: not release.get(kinds, "-l", selector)["items"])
    left = release.get("secrets,persistentvolumeclaims", "-l", selector)["items"]
    assert [each["metadata"]["name"] for each in left] == [release.prefix]
    within(GONE_S, lambda: not any(node.has().values()))
