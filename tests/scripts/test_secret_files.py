import stat
from pathlib import Path

import pytest
import yaml

from scripts.setup import envfile, secret_files
from scripts.setup.host import SetupError
from scripts.setup.hosts import authority
from tests.live import ROOT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_gets_at_files_that_containers_read(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret_files.write({"SANDBOX_DATABASE_WEB_PASSWORD": "hidden"}, folder)
    assert mode(folder) == 0o700
    assert (folder / "database_web").read_text() == "hidden"
    assert {mode(path) for path in folder.iterdir()} == {0o444}


def test_a_changed_secret_is_written_into_the_same_file(tmp_path: Path) -> None:
    secret_files.write({"POSTGRES_PASSWORD": "old"}, tmp_path)
    mounted = (tmp_path / "database_owner").stat().st_ino
    secret_files.write({"POSTGRES_PASSWORD": "new"}, tmp_path)
    assert (tmp_path / "database_owner").read_text() == "new"
    assert (tmp_path / "database_owner").stat().st_ino == mounted


def test_the_address_is_that_of_the_stack_unless_another_is_set(tmp_path: Path) -> None:
    secret_files.write({"DATABASE_URL": ""}, tmp_path)
    assert (tmp_path / "database_url").read_text() == secret_files.SHIPPED_URL
    secret_files.write({"DATABASE_URL": "postgresql://db.example/x"}, tmp_path)
    assert (tmp_path / "database_url").read_text() == "postgresql://db.example/x"


def test_every_secret_of_compose_has_a_file_and_a_variable() -> None:
    declared = {
        name: each["file"]
        for file in ("docker-compose.yml", envfile.TLS_FILE, envfile.HOSTS_FILE, envfile.WORKER_FILE)
        for name, each in yaml.safe_load((ROOT / file).read_text())["secrets"].items()
    }
    made = (secret_files.CA, authority.CERTIFICATE, authority.KEY)
    names = [*secret_files.VARIABLES, *secret_files.COPIED, *secret_files.SHARED, *made]
    assert {name: f"./.secrets/{name}" for name in names} == declared
    known = envfile.parse(envfile.EXAMPLE.read_text(encoding="utf-8"))
    variables = {*secret_files.VARIABLES.values(), *secret_files.COPIED.values(), secret_files.CA_VARIABLE}
    assert variables <= set(known)


def test_files_of_a_certificate_are_copied(tmp_path: Path) -> None:
    (tmp_path / "mine.pem").write_text("the certificate")
    secret_files.write({"SANDBOX_TLS_CERTIFICATE": str(tmp_path / "mine.pem")}, tmp_path / "secrets")
    assert (tmp_path / "secrets" / "tls_certificate").read_text() == "the certificate"
    assert (tmp_path / "secrets" / "tls_key").read_text() == ""


def test_a_certificate_that_cannot_be_read_is_told_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="SANDBOX_TLS_KEY=.*/missing"):
        secret_files.write({"SANDBOX_TLS_KEY": str(tmp_path / "missing")}, tmp_path / "secrets")


def test_a_shared_secret_is_made_once_in_a_folder_of_the_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert secret_files.write({}, folder) == list(secret_files.SHARED)
    first = (folder / "egress").read_text()
    assert secret_files.write({}, folder) == []
    assert (folder / "egress").read_text() == first
    assert len(first.strip()) >= 40
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
