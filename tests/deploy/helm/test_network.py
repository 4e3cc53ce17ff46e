"""Which part reaches which: what the NetworkPolicies let pass is what the manual's table says, and no more."""

import re
from typing import Any

import pytest

from tests.deploy.helm.rendering import (
    EXTERNAL,
    TRIAL,
    WAYS,
    WHOLE,
    Object,
    merged,
    of_kind,
    part_of,
    pods,
    render,
)
from tests.live import ROOT

MANUAL = (ROOT / "docs/kubernetes.md").read_text()
COMPONENT = "app.kubernetes.io/component"


def policies(values: dict[str, Any]) -> dict[str, Object]:
    return {part_of(each): each["spec"] for each in of_kind(render(values), "NetworkPolicy")}


def peers(rule: dict[str, Any], direction: str) -> list[str]:
    """Whom a rule lets pass: a part of the release, networks, or anybody."""
    found = []
    for peer in rule.get(direction) or [{}]:
        if "podSelector" in peer:
            found.append(peer["podSelector"]["matchLabels"][COMPONENT])
        elif "ipBlock" in peer:
            block = peer["ipBlock"]
            found.append("public" if block.get("except") else block["cidr"])
        else:
            found.append("any")
    return found


def ways(values: dict[str, Any], kind: str) -> set[tuple[str, str, str]]:
    """(from, to, port) of what the policies let out (kind "egress") or in ("ingress")."""
    direction = "to" if kind == "egress" else "from"
    return {
        (part, peer, str(port.get("port"))) if kind == "egress" else (peer, part, str(port["port"]))
        for part, policy in policies(values).items()
        for rule in policy.get(kind) or ()
        for peer in peers(rule, direction)
        for port in rule.get("ports") or [{"port": "any"}]
    }


@pytest.mark.parametrize("way", WAYS)
def test_every_pod_is_denied_everything_first(way: str) -> None:
    found = policies(WAYS[way])
    deny = found.pop("network")
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not deny.keys() & {"ingress", "egress"}
    assert COMPONENT not in deny["podSelector"]["matchLabels"]
    labels = deny["podSelector"]["matchLabels"].items()
    assert all(labels <= pod["metadata"]["labels"].items() for pod in pods(render(WAYS[way])).values())
    assert set(found) == set(pods(render(WAYS[way])))


def test_only_the_web_is_reached_from_anywhere() -> None:
    assert {each for each in ways(TRIAL, "ingress") if each[0] == "any"} == {("any", "web", "9385")}


def test_callers_of_the_web_may_be_named() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ragflow"}}}
    (rule,) = policies(merged(TRIAL, {"networkPolicy": {"webFrom": [peer]}}))["web"]["ingress"]
    assert rule["from"] == [peer]


def test_what_may_go_out_to_a_part_is_let_in_there() -> None:
    parts = set(pods(render(TRIAL)))
    out = {each for each in ways(TRIAL, "egress") if each[1] in parts}
    assert out == {each for each in ways(TRIAL, "ingress") if each[0] in parts}


def test_agents_reach_the_database_the_egress_and_the_registry_only() -> None:
    found = {(to, port) for part, to, port in ways(EXTERNAL, "egress") if part == "agent"}
    assert found == {("any", "53"), ("192.0.2.7/32", "5432"), ("egress", "3130"), ("192.0.2.8/32", "5000")}


def test_callbacks_reach_public_addresses_and_the_opened_networks() -> None:
    found = {to for part, to, port in ways(WHOLE, "egress") if part == "callbacks" and port == "any"}
    assert found == {"public", "10.1.0.0/16", "10.2.3.4/32"}


def test_programs_with_egress_reach_the_web_of_public_addresses_and_the_opened_networks() -> None:
    found = {(to, port) for part, to, port in ways(WHOLE, "egress") if part == "egress" and to != "any"}
    assert found == {
        ("192.0.2.7/32", "5432"), ("public", "80"), ("public", "443"), ("10.3.0.0/16", "80"), ("10.3.0.0/16", "443"),
    }  # fmt: skip


def test_public_addresses_are_none_of_a_clusters_own() -> None:
    (rule,) = [each for each in policies(WHOLE)["callbacks"]["egress"] if "ports" not in each]
    private = [network for peer in rule["to"] for network in peer["ipBlock"].get("except", ())]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7"} <= {
        *private
    }


def test_the_web_reaches_the_openid_provider_only_if_there_is_one() -> None:
    assert ("web", "public", "443") in ways(WHOLE, "egress")
    assert ("web", "public", "443") not in ways(EXTERNAL, "egress")


def test_a_part_may_get_further_rules() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [{"port": 4318}]}
    values = merged(TRIAL, {"networkPolicy": {"extra": {"web": {"egress": [rule]}}}})
    assert ("web", "10.9.9.9/32", "4318") in ways(values, "egress")


# What the table calls the peers that are no part of the release.
PEERS = {"any": "anybody", "192.0.2.7/32": "Postgres", "postgres": "Postgres"}


def test_the_manual_has_every_allowed_pair() -> None:
    (section,) = re.findall(r"^## Network\n(.+?)(?=^## )", MANUAL, re.MULTILINE | re.DOTALL)
    told = set()
    for sources, target, port in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)[1:]:
        told |= {(each.strip(" `"), target.strip(" `"), port.strip()) for each in sources.split(",")}
    found = set()
    for part, to, port in ways(merged(WHOLE, {"settings": {}}), "egress"):
        if port in ("80", "443", "any") and to != "any":
            target = {"192.0.2.8/32": "registry"}.get(to, "public addresses")
        elif part == "builder" and to == "any" and port in ("80", "443"):
            target = "mirrors"
        elif port == "53":
            target = "names"
        elif port == "5000":
            target, port = "registry", "443"
        else:
            target = PEERS.get(to, to)
        found.add((part, target, port))
    found |= {(PEERS.get(one, one), to, port) for one, to, port in ways(EXTERNAL, "ingress") if one == "any"}
    assert told == found
