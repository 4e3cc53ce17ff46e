"""Manage the Compose stack: start, health, smoke test, removal, and the summary for the operator."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from scripts import smoke
from scripts.setup import certificates, direct, engine, envfile, images, starting
from scripts.setup.compose import compose
from scripts.setup.docker import docker
from scripts.setup.host import LOG, ROOT, SetupError, detail, run, say, step, tail
from scripts.setup.hosts import authority, reaching

LABEL = "sandbox-platform"
# Suffix of the node name of `make dev`, which can run beside the stack.
DEV_SUFFIX = "-dev"
# A worker finishes its runs first, which takes a minute at most, and more where the machine is slow.
STOP_TIMEOUT_S = 900


def in_front(*words: str) -> int:
    """Run a Compose command on this terminal and return its exit status."""
    return subprocess.run(compose(*words), cwd=ROOT, check=False).returncode


ON_A_JOINED_HOST = ("worker", "keeper", "egress", "proxy")
SERVICES = ("postgres", "web", "callbacks", *ON_A_JOINED_HOST)


def start() -> None:
    # First: without the address, Compose refuses every command.
    if envfile.publishes_database():
        publish_database(envfile.settings().get("SANDBOX_DATABASE_BIND", ""))
    choose_engine()
    with step(f"starting the stack ({', '.join(wanted_services())})"):
        if not envfile.is_joined():
            check_port(envfile.settings())
        certificates.write_build_config(group=envfile.settings().get("DOCKER_GID", ""))
        # Only runtimes with an image are enabled. The process that creates them has no access to Docker: it reads
        # this list.
        built = {"SANDBOX_BUILT_RUNTIMES": ",".join(images.built_runtimes())}
        renew_served_certificate()
        starting.up(compose("up", "--detach", "--no-build", "--remove-orphans", told=built))
    with step("waiting for every service to be healthy"):
        starting.wait_healthy(wanted_services(), services)


def publish_database(address: str) -> None:
    """Make the certificate with which Postgres answers other hosts."""
    with step("certificate of the published database") as current:
        if not address:
            fix = "set it to the address of this host that the others reach, or remove the file from COMPOSE_FILE"
            raise SetupError("SANDBOX_DATABASE_BIND", f"it is empty, and {envfile.HOSTS_FILE} needs it", fix)
        current.note(", ".join(authority.ensure(address)) or "present")


def served_certificate(settings: dict[str, str]) -> bytes:
    """Return the certificate with which Postgres answers other hosts."""
    address, port = settings.get("SANDBOX_DATABASE_BIND", ""), int(settings.get("SANDBOX_DATABASE_PORT") or 5432)
    return reaching.served(address, port) if address else b""


def renew_served_certificate() -> None:
    """Recreate a running Postgres that shows another certificate than the present one.

    The container has the replaced file mounted, and its entrypoint copied the key. `compose up` sees no difference.
    """
    if envfile.publishes_database() and services().get("postgres", {}).get("State") == "running":
        served = served_certificate(envfile.settings())
        if served and not authority.is_served(served):
            detail("Postgres starts anew, with the new certificate")
            _compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "--wait", "postgres")


def first_host_only(command: str) -> None:
    """Raises SetupError on a host that has joined another one."""
    if envfile.is_joined():
        raise SetupError(
            command, "this host has joined another one, which has the data", "run it on the first host"
        )


def choose_engine() -> None:
    """Choose the engine for this start. If it is another one than before, stop the stack, which has its sandboxes."""
    with step("engine") as current:
        before, choice = engine.present(), engine.choose(_image_to_try(), _trial)
        if choice.engine != before.engine and services().get("keeper", {}).get("State") == "running":
            stop()
        engine.remember(choice)
        current.note(f"{choice.engine}: {choice.reason}")


def _image_to_try() -> str:
    built = images.built_runtimes()
    slug = "python" if "python" in built else next(iter(built), "")
    return f"{images.RUNTIME_TAG}{slug}:latest" if slug else ""


def _trial(image: str) -> list[str]:
    """Return the command that tries the direct engine with the rights and mounts of the stack's worker."""
    words = ("run", "--rm", "--no-deps", "-T", "worker", "python3", "manage.py", "try_direct_engine", image)
    return compose(*words, choice=engine.Choice(engine.DIRECT, "a trial"))


def check_port(settings: dict[str, str]) -> None:
    """Raise SetupError if the port is taken. Docker would report it only after Postgres and the migrations."""
    if services().get("web", {}).get("State") == "running":
        return
    address = settings.get("SANDBOX_EXECUTOR_MANAGER_BIND") or "127.0.0.1"
    port = int(settings.get("SANDBOX_EXECUTOR_MANAGER_PORT") or 9385)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise SetupError(
                f"port {port} on {address}",
                f"{error.strerror}; ss -ltnp 'sport = :{port}' shows the process",
                "stop that process, or set SANDBOX_EXECUTOR_MANAGER_PORT or _BIND in .env; then make start",
            ) from error


def services() -> dict[str, dict[str, str]]:
    """Return `docker compose ps` of every service of the stack, by name, with State and Health."""
    return starting.services()


def wanted_services() -> tuple[str, ...]:
    wanted = ON_A_JOINED_HOST if envfile.is_joined() else SERVICES
    return (*wanted, "tls") if envfile.has_tls() else wanted


def is_up() -> bool:
    return not starting.not_ready(wanted_services(), services())


def base_url(settings: dict[str, str]) -> str:
    bind = settings.get("SANDBOX_EXECUTOR_MANAGER_BIND", "127.0.0.1")
    host = "127.0.0.1" if bind in {"", "0.0.0.0"} else bind  # noqa: S104 -- compared, not bound
    return f"http://{host}:{settings.get('SANDBOX_EXECUTOR_MANAGER_PORT', '9385')}"


def public_url(settings: dict[str, str]) -> str:
    """Return the address for people and callers: over TLS where there is Caddy."""
    if not envfile.has_tls():
        return base_url(settings)
    port = settings.get("SANDBOX_TLS_PORT") or "443"
    return f"https://{settings.get('SANDBOX_TLS_HOST', '')}" + (f":{port}" if port != "443" else "")


def smoke_test() -> None:
    first_host_only("make smoke")
    settings = envfile.settings()
    with step("smoke test: POST /run in both languages") as current:
        try:
            for line in smoke.check(base_url(settings), settings["SANDBOX_EXECUTOR_MANAGER_API_TOKEN"]):
                current.note(line)
        except smoke.SmokeError as error:
            logs = run(compose("logs", "--no-color", "--tail=15", "web", "worker", "keeper"))
            raise SetupError("smoke test", f"{error}\n{tail(logs)}", "make doctor") from error


def stop() -> None:
    with step("stopping the stack") as current:
        done = run(compose("down", "--remove-orphans"), timeout=STOP_TIMEOUT_S)
        if done.returncode != 0:
            raise SetupError("docker compose down", f"\n{tail(done)}", f"see {LOG.relative_to(ROOT)}")
        remove_sandboxes(node())
        current.note("data are kept in the volume")


def migrate_from_0_1() -> None:
    """Upgrade the stack's database from 0.1: services stopped, database dumped, then one transaction."""
    if envfile.settings().get("DATABASE_URL"):
        raise SetupError(
            "the database is not the stack's",
            "DATABASE_URL in .env names another one, which this command cannot dump",
            "follow docs/upgrading.md, A Postgres of your own",
        )
    stop()
    start_postgres()
    backup = ROOT / f"backup-0.1-{time.strftime('%Y%m%d-%H%M%S')}.dump"
    with step("dumping the database") as current:
        # The folder of Postgres' socket in its container.
        dump = ("pg_dump", "-h", "/tmp", "-U", "sandbox", "-Fc", "sandbox")  # noqa: S108
        _compose("exec", "-T", "postgres", *dump, output=backup)
        current.note(f"{backup.name}, {backup.stat().st_size:,} bytes; docs/upgrading.md says how to restore it")
    with step("upgrading the database") as current:
        done = _compose("run", "--rm", "--no-deps", "migrate", "python3", "manage.py", "migrate_from_0_1")
        for line in done.stdout.splitlines():
            current.note(line)


def start_postgres() -> None:
    if envfile.publishes_database():
        publish_database(envfile.settings().get("SANDBOX_DATABASE_BIND", ""))
    with step("starting Postgres alone"):
        _compose("up", "--detach", "--no-build", "--wait", "postgres")


def _compose(*words: str, output: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Compose; standard output goes to the file `output`, if given. Raises SetupError."""
    done = run(compose(*words), timeout=3600) if output is None else _write(output, compose(*words))
    if done.returncode != 0:
        raise SetupError(
            f"docker compose {words[0]}", f"\n{tail(done)}", "correct the cause, then run the same command again"
        )
    return done


def _write(path: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Write what the command prints to a file that only its owner reads. A failed command leaves no file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        path.unlink()  # half a dump must not look like a backup
    return subprocess.CompletedProcess(command, done.returncode, "", done.stderr)


def node() -> str:
    return envfile.settings().get("SANDBOX_NODE") or envfile.node_name()


def ids(kind: str, *filters: str) -> dict[str, str]:
    """Return the names of Docker objects by id. `kind`: container, volume or network."""
    options = [word for one in filters for word in ("--filter", one)]
    template = {
        "container": "{{.ID}} {{.Names}}",
        "volume": "{{.Name}} {{.Name}}",
        "network": "{{.ID}} {{.Name}}",
    }[kind]
    every = ["--all"] if kind == "container" else []
    done = docker(kind, "ls", *every, *options, "--format", template)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if line)


def remove_sandboxes(of_node: str) -> list[str]:
    direct.remove_sandboxes(of_node)
    found = ids("container", f"label={LABEL}={of_node}", f"label={LABEL}.kind=sandbox")
    if found:
        docker("container", "rm", "--force", *found)
    return sorted(found.values())


def clean() -> None:
    """Remove this node's stack, sandboxes, database and unpacked images. Keep Docker's images and .env."""
    label = f"label={LABEL}={node()}"
    with step(f"removing everything labelled {LABEL}={node()}") as current:
        removed = [f"container {name}" for name in remove_sandboxes(node() + DEV_SUFFIX)]
        for kind, options in (("container", ["--force", "--volumes"]), ("network", []), ("volume", [])):
            # Repeat, because the keeper may start another sandbox until it is removed itself.
            for _ in range(3):
                if not (found := ids(kind, label)):
                    break
                docker(kind, "rm", *options, *found)
                removed += [f"{kind} {name}" for name in found.values()]
            if left := ids(kind, label):
                names = ", ".join(left.values())
                raise SetupError("make clean", f"{kind} left: {names}", f"docker {kind} rm {' '.join(left)}")
        removed += direct.remove_all()
        removed = list(dict.fromkeys(removed))
        for name in removed:
            detail(f"removed {name}")
        current.note(f"{len(removed)} removed; images and .env are kept" if removed else "nothing to remove")


def doctor() -> int:
    in_stack = services().get("worker", {}).get("State") == "running"
    if in_stack and envfile.publishes_database():
        # Not by the platform's doctor: no container has the file that is on the disk now.
        said = authority.complaint(served_certificate(envfile.settings()))
        fix = f"\n{'':27} → make start renews it, and starts Postgres anew if need be" if said else ""
        print(
            f"{'warning' if said else 'ok':<8} {'database TLS':<18} {said or 'valid, and shown by Postgres'}{fix}"
        )
        sys.stdout.flush()
    if in_stack:
        return in_front("exec", "-T", "worker", "python3", "manage.py", "doctor")
    python = ROOT / ".venv/bin/python"
    if not python.exists():
        print("The stack is not running and .venv does not exist: run `make` first.", file=sys.stderr)
        return 1
    environment = {**os.environ, **envfile.settings(), "SANDBOX_ENGINE_REASON": engine.present().reason}
    return subprocess.run([python, "manage.py", "doctor"], cwd=ROOT, env=environment, check=False).returncode


def seal_key() -> str:
    """Return the fingerprint of the first key that signs seals."""
    done = run(compose("exec", "-T", "keeper", "python3", "manage.py", "seal_key", "--make"))
    return (
        done.stdout.split()[0] if done.returncode == 0 and done.stdout.strip() else "no key yet: see make doctor"
    )


def heads(settings: dict[str, str]) -> str:
    """Say where the heads of seals go, and what else there is."""
    ways = [way for way in ("file", "mail", "webhook", "syslog") if settings.get(f"SANDBOX_HEADS_{way.upper()}")]
    others = "to send them off this machine: SANDBOX_HEADS_MAIL, _WEBHOOK or _SYSLOG in .env, then make restart"
    found = f"heads of seals go by {', '.join(ways)}" if ways else "heads of seals go nowhere"
    return found if {*ways} - {"file"} else f"{found}; {others}"


def hosts(settings: dict[str, str]) -> str:
    """Say which Host headers are answered, and how to add one."""
    added = settings.get("DJANGO_ALLOWED_HOSTS", "")
    if "*" in added.split(","):
        return "any host name (DJANGO_ALLOWED_HOSTS=*); safer: name those that callers use"
    known = f"localhost, sandbox-executor-manager, {node()}" + (f", {added}" if added else "")
    return f"{known}; others: DJANGO_ALLOWED_HOSTS in .env, then make restart"


def ragflow_here(settings: Mapping[str, str]) -> str:
    """Return what is left to do for a RAGFlow in Docker on this machine."""
    network = settings.get("RAGFLOW_NETWORK") or "docker_ragflow"
    files = settings.get("COMPOSE_FILE") or "docker-compose.yml"
    if envfile.RAGFLOW_FILE in files.split(":"):
        return f"joined to its network, {network}"
    return (
        f"set this in .env, then run make restart\n  COMPOSE_FILE={files}:{envfile.RAGFLOW_FILE}\n"
        f"  (joins the network {network})"
    )


def report() -> None:
    settings = envfile.settings()
    if envfile.is_joined():
        say(f"Node {node()} of the database that make join named is running. Next: make doctor, make nodes")
        return
    token, port = settings["SANDBOX_EXECUTOR_MANAGER_API_TOKEN"], settings["SANDBOX_EXECUTOR_MANAGER_PORT"]
    url, admin = public_url(settings), settings["ADMIN_USERNAME"]
    container = settings.get("SANDBOX_WEB_CONTAINER") or "sandbox-executor-manager"
    say(f"""
Sandbox Platform is running.

  Admin     {url}/admin/
  Login     {admin} / {settings["ADMIN_PASSWORD"]}   (initial password, from .env)
            to change it: docker exec -it {container} python3 manage.py changepassword {admin}
  API       {url}/run
  Hosts     {hosts(settings)}
  Token     {token}
  Seals     {seal_key()}
            the fingerprint of the first key: note it elsewhere, for verify_audit --key (docs/audit.md)
  Heads     {heads(settings)}

RAGFlow, current releases: in docker/.env
  SANDBOX_ENABLED=1
  SANDBOX_HOST=sandbox-executor-manager
  SANDBOX_EXECUTOR_MANAGER_API_TOKEN={token}
RAGFlow, older releases (no token variable): Admin > Sandbox settings > Self-managed, endpoint
  http://ragflow:{token}@sandbox-executor-manager:9385
RAGFlow in Docker on this machine: {ragflow_here(settings)}
RAGFlow on another machine: set SANDBOX_EXECUTOR_MANAGER_BIND=0.0.0.0 in .env, and DJANGO_ALLOWED_HOSTS to the name or
  address that RAGFlow calls, run make restart, then use that name and port {port}

Next: make doctor, make logs, make help
""")
