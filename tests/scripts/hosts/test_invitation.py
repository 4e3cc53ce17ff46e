"""What an invitation holds, and which ones are refused."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dj_database_url
import pytest

from scripts.setup import envfile, secret_files
from scripts.setup.host import SetupError
from scripts.setup.hosts import commands, invitation
from scripts.setup.hosts.invitation import Invitation, platform_version
from tests.live import ROOT

CA = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"
PASSWORDS = {"WORKER": "of-worker", "KEEPER": "of-keeper", "EGRESS": "of-egress"}


@pytest.fixture
def sent() -> Invitation:
    return Invitation(platform_version(), "first", "192.0.2.7", 5432, CA, PASSWORDS, {"SANDBOX_RUNTIMES": "core"})


@pytest.fixture
def changed(tmp_path: Path, sent: Invitation) -> Callable[..., Path]:
    def change(**values: Any) -> Path:
        path = tmp_path / "changed.json"
        invitation.write(path, sent)
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return path

    return change


def test_only_its_owner_reads_it(tmp_path: Path, sent: Invitation) -> None:
    path = tmp_path / "one.json"
    invitation.write(path, sent)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert invitation.read(path) == sent


def test_its_secrets_are_those_of_three_roles(sent: Invitation) -> None:
    assert {f"SANDBOX_DATABASE_{role}_PASSWORD" for role in invitation.ROLES} <= set(
        secret_files.VARIABLES.values()
    )
    secret = {*secret_files.VARIABLES.values(), "SANDBOX_METRICS_TOKEN", "SANDBOX_BACKUP_RECIPIENT"}
    assert not secret & set(invitation.SHARED)
    assert "of-worker" not in repr(sent)


def test_every_shared_setting_is_one_that_there_is() -> None:
    assert set(invitation.SHARED) <= set(envfile.parse(envfile.EXAMPLE.read_text()))


@pytest.mark.parametrize("address", ["192.0.2.7", "db.example", "2001:db8::7"])
def test_the_database_is_reached_over_tls_only(sent: Invitation, address: str) -> None:
    url = Invitation(**{**vars(sent), "address": address}).database_url
    parsed = dj_database_url.parse(url)
    assert (parsed["HOST"], parsed["PORT"], parsed["NAME"]) == (address, 5432, "sandbox")
    assert parsed["OPTIONS"]["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"format": "another"}, "it does not begin as"),
        ({"version": "9.9.9"}, "the first host runs 9.9.9"),
        ({"passwords": {"WORKER": "x"}}, "a part is missing"),
        ({"passwords": "x"}, "a part is missing"),
        ({"passwords": {**PASSWORDS, "KEEPER": ""}}, "a password is empty"),
        ({"passwords": {**PASSWORDS, "KEEPER": 7}}, "no line of text: 'KEEPER'"),
        ({"port": 0}, "address or port is missing"),
        ({"port": "5432"}, "address or port is missing"),
        ({"address": ""}, "address or port is missing"),
        ({"address": None}, "no line of text: 'address'"),
        ({"address": "x\x1b[2J", "passwords": {**PASSWORDS, "address": "x"}}, "no line of text: 'address'"),
        ({"invited_by": "first\x1b[2J"}, "no line of text: 'invited_by'"),
        ({"version": 1}, "no line of text: 'version'"),
        ({"node": "n2\rSANDBOX_NODE=n3"}, "no line of text: 'node'"),
        ({"ca": "none"}, "the certificate of the authority is missing"),
        ({"ca": "BEGIN CERTIFICATE"}, "the certificate of the authority is missing"),
        ({"ca": CA.replace("QUJD", "QU D\0")}, "the certificate of the authority is damaged"),
        ({"ca": 7}, "a part is missing or wrong"),
        ({"more": 1}, "a part is missing or wrong"),
        (
            {"settings": {"COMPOSE_FILE": "/tmp/evil.yml"}},
            "it sets what an invitation does not set: 'COMPOSE_FILE'",
        ),
        ({"settings": []}, "a part is missing or wrong"),
        ({"settings": {"SANDBOX_RUNTIMES": ["core"]}}, "no line of text: 'SANDBOX_RUNTIMES'"),
        ({"settings": {"SANDBOX_RUNTIMES": "core\nDOCKER_HOST=x"}}, "no line of text: 'SANDBOX_RUNTIMES'"),
        ({"settings": {"SANDBOX_RUNTIMES": "core\rDOCKER_HOST=x"}}, "no line of text: 'SANDBOX_RUNTIMES'"),
        ({"passwords": {**PASSWORDS, "KEEPER": "x\nDOCKER_HOST=x"}}, "no line of text: 'KEEPER'"),
        ({"address": "192.0.2.7\nDOCKER_HOST=x"}, "no line of text: 'address'"),
    ],
)
def test_what_is_wrong_with_one_is_said(changed: Callable[..., Path], values: dict[str, Any], told: str) -> None:
    with pytest.raises(SetupError) as refused:
        invitation.read(changed(**values))
    assert told in refused.value.cause


def test_one_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none\.json"):
        invitation.read(tmp_path / "none.json")


def test_a_joined_host_has_no_secret_that_it_does_not_need(sent: Invitation) -> None:
    values = envfile.parse(commands.settings_of(sent, "n2"))
    given = {f"SANDBOX_DATABASE_{role}_PASSWORD" for role in invitation.ROLES} | {"DATABASE_URL"}
    assert {name for name in secret_files.VARIABLES.values() if values.get(name)} == given
    assert (values["SANDBOX_NODE"], values["SANDBOX_SEAL_KEY_FILE"], values["SANDBOX_HEADS_FILE"]) == (
        "n2",
        "",
        "",
    )
    assert values["COMPOSE_FILE"] == "docker-compose.yml:docker-compose.worker.yml"
    assert (ROOT / envfile.WORKER_FILE).exists() and (ROOT / envfile.HOSTS_FILE).exists()


def test_joining_again_keeps_what_is_this_host_s_own(sent: Invitation) -> None:
    before = commands.settings_of(sent, "n2")
    files = "docker-compose.yml:docker-compose.worker.yml:docker-compose.monitoring.yml"
    before = envfile.with_values(
        before, {"SANDBOX_WORKERS": "3", "SANDBOX_ENGINE": "docker", "COMPOSE_FILE": files}
    )
    again = Invitation(**{**vars(sent), "passwords": {**PASSWORDS, "WORKER": "another"}})
    values = envfile.parse(commands.settings_of(again, "n2", before))
    assert values == envfile.parse(before) | {"SANDBOX_DATABASE_WORKER_PASSWORD": "another"}


def test_the_authority_s_certificate_becomes_a_file_again(sent: Invitation, tmp_path: Path) -> None:
    secret_files.write(envfile.parse(commands.settings_of(sent, "n2")), tmp_path)
    assert (tmp_path / "database_ca").read_text().replace("\n", "") == CA.replace("\n", "")


def test_a_joined_host_generates_no_secret(
    sent: Invitation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envfile, "ENV", tmp_path / ".env")
    monkeypatch.setattr(secret_files, "write", lambda settings: [])
    envfile.ENV.write_text(commands.settings_of(sent, "n2"))
    envfile.ensure()
    values = envfile.read()
    for name in ("POSTGRES_PASSWORD", "DJANGO_SECRET_KEY", "ADMIN_PASSWORD", "SANDBOX_CALLBACK_KEY"):
        assert values[name] == ""
