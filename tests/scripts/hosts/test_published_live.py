"""The stack's Postgres as docker-compose.hosts.yml publishes it: over TLS, or not at all."""

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from scripts.setup import docker
from scripts.setup.host import SetupError
from scripts.setup.hosts import authority, reaching
from scripts.setup.hosts.invitation import Invitation
from tests.live import ROOT, eventually, free_port
from tests.scripts.hosts.test_invitation import PASSWORDS

pytestmark = pytest.mark.needs_docker
OWNER = "of-the-owner"


@pytest.fixture(scope="module")
def container() -> str:
    return f"test-hosts-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def published(container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invitation]:
    """A container of the shipped image with this tree's entrypoint; its role sandbox_worker may log in."""
    folder, port = tmp_path_factory.mktemp("published"), free_port()
    authority.ensure("127.0.0.1", folder)
    (folder / "owner").write_text(OWNER)
    mounts = {
        ROOT / "images/postgres/entrypoint": "/usr/local/bin/entrypoint",
        folder / authority.CERTIFICATE: "/run/secrets/database_tls_certificate",
        folder / authority.KEY: "/run/secrets/database_tls_key",
        folder / "owner": "/run/secrets/database_owner",
    }
    (folder / "owner").chmod(0o444)
    words = [word for path, inside in mounts.items() for word in ("--volume", f"{path}:{inside}:ro")]
    # A network of its own, as the overlay's: no other container is on it.
    docker.docker("network", "create", container)
    docker.docker(
        "run", "--detach", "--rm", "--name", container, "--network", container, "--pull", "never",
        "--read-only", "--cap-drop", "ALL",
        "--tmpfs", "/tmp:size=64m", "--publish", f"127.0.0.1:{port}:5432", "--shm-size", "64m",
        "--env", "SANDBOX_DATABASE_TLS=yes", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/database_owner", *words,
        "sandbox-platform/postgres:latest",
    )  # fmt: skip
    found = Invitation("", "first", "127.0.0.1", port, (folder / authority.CA).read_text(), PASSWORDS, {})
    try:
        eventually(lambda: inside(container, "SELECT 1").returncode == 0, "Postgres answers")
        for role in ("worker", "web"):
            assert not inside(container, f"CREATE ROLE sandbox_{role} LOGIN PASSWORD 'of-{role}'").returncode
        yield found
    finally:
        docker.docker("rm", "--force", "--volumes", container)
        docker.docker("network", "rm", container)


def connect(found: Invitation, user: str, password: str, **options: str) -> psycopg.Connection:
    return psycopg.connect(
        host=found.address, port=found.port, dbname="sandbox", user=user, password=password, connect_timeout=5,
        **options,
    )  # fmt: skip


def inside(container: str, query: str) -> subprocess.CompletedProcess[str]:
    return docker.docker("exec", container, "psql", "-h", "/tmp", "-U", "postgres", "-Atc", query, "sandbox")  # noqa: S108


@pytest.fixture
def ca(published: Invitation, tmp_path: Path) -> str:
    path = tmp_path / "ca"
    path.write_text(published.ca)
    return str(path)


def test_a_worker_gets_in_over_tls(published: Invitation, ca: str) -> None:
    with connect(published, "sandbox_worker", "of-worker", sslmode="verify-full", sslrootcert=ca) as worker:
        row = worker.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row == (True, "TLSv1.3")


def test_nobody_gets_in_without_tls(published: Invitation) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        connect(published, "sandbox_worker", "of-worker", sslmode="disable")


def test_a_server_of_another_authority_is_not_trusted(published: Invitation, tmp_path: Path) -> None:
    authority.ensure("127.0.0.1", tmp_path)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(
            published, "sandbox_worker", "of-worker", sslmode="verify-full",
            sslrootcert=str(tmp_path / authority.CA),
        )  # fmt: skip


@pytest.mark.parametrize(("role", "password"), [("sandbox", OWNER), ("sandbox_web", "of-web")])
def test_from_outside_nobody_gets_in_but_the_roles_of_joined_hosts(
    published: Invitation, ca: str, role: str, password: str
) -> None:
    """Here, Docker's proxy hands the connection over with an address of the container's own network."""
    with pytest.raises(psycopg.OperationalError, match="pg_hba.conf rejects"):
        connect(published, role, password, sslmode="verify-full", sslrootcert=ca)


@pytest.mark.usefixtures("published")
def test_networks_of_the_stack_come_after_the_one_that_publishes(container: str) -> None:
    query = "SELECT type, user_name, address, auth_method FROM pg_hba_file_rules ORDER BY rule_number"
    local, hosts, publishing, networks = inside(container, query).stdout.splitlines()
    assert local == "local|{all}||trust"
    assert hosts == "hostssl|{sandbox_worker,sandbox_keeper,sandbox_egress}|all|scram-sha-256"
    assert publishing.startswith("hostssl|{all}|1") and publishing.endswith("|reject")
    assert networks == "hostssl|{all}|samenet|scram-sha-256"


def test_whoever_wants_to_join_is_told_before_whether_it_is_the_right_server(
    published: Invitation, tmp_path: Path
) -> None:
    reaching.check(published)
    authority.ensure("127.0.0.1", tmp_path)
    with pytest.raises(SetupError, match="its certificate is not the one"):
        reaching.check(replace(published, ca=(tmp_path / authority.CA).read_text()))
    with pytest.raises(SetupError, match="not reachable"):
        reaching.check(replace(published, port=free_port()))
