"""Runtimes and seccomp profiles: clients read them, administrators change them."""

import json
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from audit.models import TrailEntry
from clients.models import Client, Role
from runtimes.manifests import load, sync
from runtimes.models import Runtime
from seccomp_profiles import revisions
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

RULES = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
RUNTIME = {"slug": "lua", "name": "Lua 5.4", "image": "lua:1", "source_file": "main.lua"}


def test_runtime_is_added(root: APIClient) -> None:
    body = RUNTIME | {"limits": {"wall_time_ms": 2000, "cpus": 0.5}, "aliases": ["luajit"], "pool_min": 0}
    answer = root.post(f"{API}/runtimes", body, format="json")
    assert answer.status_code == 201, answer.content
    shown = root.get(answer["Location"]).json()
    assert shown == answer.json()
    assert (shown["limits"]["wall_time_ms"], shown["limits"]["cpus"]) == (2000, 0.5)
    assert (shown["aliases"], shown["seccomp_profile"]) == (["luajit"], "unconfined")


def test_change_leaves_the_rest_and_makes_a_revision(root: APIClient) -> None:
    before = root.get(f"{API}/runtimes/python").json()
    answer = root.patch(f"{API}/runtimes/python", {"limits": {"wall_time_ms": 3000}}, format="json")
    expected = before | {"revision": before["revision"] + 1, "limits": before["limits"] | {"wall_time_ms": 3000}}
    assert answer.json() == expected
    assert Runtime.objects.get().wall_time_ms == 3000


def test_runtime_gets_a_profile_by_name_and_loses_it_again(root: APIClient) -> None:
    revisions.create_profile("quiet", RULES)
    for name in ("quiet", "unconfined"):
        answer = root.patch(f"{API}/runtimes/python", {"seccomp_profile": name}, format="json")
        assert answer.json()["seccomp_profile"] == name


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limits": {"wall_time_ms": 1}}, "limits.wall_time_ms"),
        ({"limits": {"memory_bytes": 2**26, "workspace_bytes": 2**30}}, "limits.memory_bytes"),
        ({"pool_min": 9, "pool_max": 1}, "pool_max"),
        ({"seccomp_profile": "nope"}, "seccomp_profile"),
        ({"enabled": "yes"}, "enabled"),
        ({"disabled_rules": ["nope"]}, "disabled_rules[0]"),
        ({"modes": ["script", "script"]}, "modes"),
        ({"packages": {"apt": ["-o"]}}, "packages.apt[0]"),
        ({"packages": {"gem": []}}, "packages.gem"),
        ({"smoke": [{"name": "x"}]}, "smoke"),
        ({"environment": {"LD_PRELOAD": "x"}}, "environment.LD_PRELOAD"),
        ({"source_file": "a/b"}, "source_file"),
        ({"source_file": ".."}, "source_file"),
        ({"source_file": "main.py\n"}, "source_file"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_field_is_named_and_nothing_changes(root: APIClient, body: Any, field: str) -> None:
    before = Runtime.objects.values().get()
    answer = root.patch(f"{API}/runtimes/python", body, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert Runtime.objects.values().get() == before


def test_cores_are_rounded_to_hundredths(root: APIClient) -> None:
    answer = root.patch(f"{API}/runtimes/python", {"limits": {"cpus": 0.5049}}, format="json")
    assert (answer.status_code, answer.json()["limits"]["cpus"]) == (200, 0.5)


def test_name_that_somebody_took_at_this_moment_is_a_conflict(
    root: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between the look and the change: only a fault stands for that here.
    monkeypatch.setattr(Runtime, "full_clean", lambda self: None)
    wanted = {"slug": "python", "name": "Python", "image": "x", "source_file": "main.py"}
    answer = root.post(f"{API}/runtimes", wanted, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")


def test_name_of_another_runtime_is_refused(root: APIClient) -> None:
    answer = root.post(f"{API}/runtimes", RUNTIME | {"aliases": ["python3"]}, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, "aliases")


def test_runtime_that_history_names_stays(root: APIClient, mine: Any) -> None:
    mine()
    answer = root.delete(f"{API}/runtimes/python")
    assert (answer.status_code, "enabled" in answer.json()["remedy"]) == (409, True)


def test_unused_runtime_and_profile_are_deleted(root: APIClient) -> None:
    revisions.create_profile("quiet", RULES)
    assert root.delete(f"{API}/runtimes/python").status_code == 204
    assert root.delete(f"{API}/seccomp-profiles/quiet").status_code == 204
    assert not Runtime.objects.exists()


def test_profile_is_added_changed_and_kept_while_used(root: APIClient) -> None:
    path = root.post(f"{API}/seccomp-profiles", {"name": "quiet", "rules": RULES}, format="json")["Location"]
    before = root.get(path).json()
    after = root.patch(path, {"rules": {"defaultAction": "SCMP_ACT_ALLOW"}}, format="json").json()
    assert before["sha256"] != after["sha256"]
    root.patch(f"{API}/runtimes/python", {"seccomp_profile": "quiet"}, format="json")
    assert root.delete(path).status_code == 409


@pytest.mark.parametrize(
    "rules", [[], {}, {"defaultAction": "SCMP_ACT_LOG"}, RULES | {"comment": "\0"}, RULES | {"comment": "\ud800"}]
)
def test_rules_that_cannot_be_applied_or_stored_are_refused(root: APIClient, rules: Any) -> None:
    body = json.dumps({"name": "quiet", "rules": rules})
    answer = root.post(f"{API}/seccomp-profiles", body, content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (422, "rules")


@pytest.mark.parametrize("role", [Role.CALLER, Role.AUDITOR])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "runtimes"),
        ("patch", "runtimes/python"),
        ("delete", "runtimes/python"),
        ("post", "seccomp-profiles"),
        ("patch", "seccomp-profiles/default"),
        ("delete", "seccomp-profiles/default"),
    ],
)
def test_only_administrators_change_anything(api: APIClient, role: Role, method: str, path: str) -> None:
    _, token = Client.objects.create_with_token("other", role=role)
    caller = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    assert getattr(caller, method)(f"{API}/{path}", {}, format="json").status_code == 403


def test_change_is_in_the_trail_with_its_client(root: APIClient) -> None:
    root.patch(f"{API}/runtimes/python", {"name": "Snake"}, format="json")
    entry = TrailEntry.objects.filter(pgh_obj_model="runtimes.Runtime", pgh_label="update").get()
    assert (entry.who, entry.changes["name"]) == ("client root", ("Python 3.13", "Snake"))


# -- languages ----------------------------------------------------------------------------------------------

UNIVERSAL = RUNTIME | {"runner": "universal", "run_command": "lua {source}", "modes": ["script"]}


def test_language_is_added_with_its_commands(root: APIClient) -> None:
    wanted = UNIVERSAL | {"aliases": ["c++"], "compile_command": "luac -o {program} {source}"}
    answer = root.post(f"{API}/runtimes", wanted, format="json")
    assert answer.status_code == 201, answer.content
    assert {name: answer.json()[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"run_command": ""}, "run_command"),
        ({"run_command": "lua '"}, "run_command"),
        ({"runner": "magic"}, "runner"),
        ({"runner": "native"}, "run_command"),
        ({"modes": []}, "modes"),
        ({"modes": ["function"]}, "modes"),
        ({"modes": ["dance"]}, "modes[0]"),
        ({"packages": {"gem": []}}, "packages.gem"),
        ({"packages": {"apt": ["--yes"]}}, "packages.apt[0]"),
        ({"packages": ["\ud800"]}, "packages"),
        ({"smoke": [{"name": "x"}]}, "smoke"),
        ({"smoke": "\0"}, "smoke"),
        ({"aliases": ["c/c"]}, "aliases[0]"),
    ],
)
def test_wrong_field_of_a_language_is_named(root: APIClient, change: Any, field: str) -> None:
    answer = root.post(f"{API}/runtimes", json.dumps(UNIVERSAL | change), content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.fixture
def bash(db: None) -> Runtime:
    sync([load(settings.BASE_DIR / "images" / "bash" / "runtime.toml")])
    return Runtime.objects.get(slug="bash")


def test_what_was_changed_against_the_manifest_is_told(root: APIClient, bash: Runtime) -> None:
    root.patch(f"{API}/runtimes/bash", {"run_command": "bash -x {source}"}, format="json")
    told = root.get(f"{API}/runtimes/bash/manifest").json()
    assert told["differences"] == [
        {"field": "run_command", "row": "bash -x {source}", "manifest": "bash {source}"}
    ]
    assert (told["has_manifest"], told["smoke"]) == (True, bash.smoke)


def test_runtime_without_a_manifest_says_so(root: APIClient) -> None:
    Runtime.objects.update(slug="cobol")
    told = root.get(f"{API}/runtimes/cobol/manifest").json()
    assert (told["has_manifest"], told["differences"]) == (False, [])
    assert root.post(f"{API}/runtimes/cobol/manifest").status_code == 409


def test_runtime_is_put_back_to_its_manifest(root: APIClient, bash: Runtime) -> None:
    root.patch(f"{API}/runtimes/bash", {"run_command": "bash -x {source}"}, format="json")
    answer = root.post(f"{API}/runtimes/bash/manifest")
    assert (answer.status_code, answer.json()["run_command"]) == (200, "bash {source}")


def test_one_field_is_put_back(root: APIClient, bash: Runtime) -> None:
    root.patch(f"{API}/runtimes/bash", {"run_command": "bash -x {source}", "pool_max": 9}, format="json")
    answer = root.post(f"{API}/runtimes/bash/manifest", {"fields": ["pool_max"]}, format="json")
    assert (answer.json()["run_command"], answer.json()["pool_max"]) == ("bash -x {source}", 4)


@pytest.mark.parametrize("fields", [["code_policy"], [], "pool_max", [1]])
def test_only_what_a_manifest_says_is_put_back(root: APIClient, bash: Runtime, fields: Any) -> None:
    answer = root.post(f"{API}/runtimes/bash/manifest", {"fields": fields}, format="json")
    assert answer.status_code == 422


def test_only_an_administrator_puts_a_runtime_back(api: APIClient, bash: Runtime) -> None:
    assert api.post(f"{API}/runtimes/bash/manifest").status_code == 403


@pytest.fixture
def limited(client_row: Client) -> None:
    Client.objects.filter(pk=client_row.pk).update(allowed_runtimes=["nodejs"])
    Runtime.objects.update(environment={"MIRROR": "https://user:secret@mirror.example"})


def test_environment_is_shown_to_who_may_run_in_it(api: APIClient) -> None:
    Runtime.objects.update(environment={"A": "1"})
    assert api.get(f"{API}/runtimes/python").json()["environment"] == {"A": "1"}


@pytest.mark.parametrize("path", ["runtimes", "runtimes/python"])
def test_environment_is_hidden_from_who_may_not(api: APIClient, limited: None, path: str) -> None:
    answer = api.get(f"{API}/{path}")
    assert answer.status_code == 200
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("path", ["runtimes/python/manifest", "runtimes/python/description"])
def test_what_else_shows_the_environment_is_refused(api: APIClient, limited: None, path: str) -> None:
    assert api.get(f"{API}/{path}").status_code == 403


def test_an_administrator_sees_every_environment(root: APIClient) -> None:
    Client.objects.filter(name="root").update(allowed_runtimes=["nodejs"])
    Runtime.objects.update(environment={"A": "1"})
    assert root.get(f"{API}/runtimes/python").json()["environment"] == {"A": "1"}
