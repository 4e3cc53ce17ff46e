"""`make invite`, `make join`, `make drain`, `make return`, `make nodes`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from scripts.setup import docker, envfile, images, secret_files, stack
from scripts.setup.compose import compose
from scripts.setup.host import ROOT, SetupError, run, say, step
from scripts.setup.hosts import authority, invitation, reaching
from scripts.setup.hosts.invitation import Invitation
from scripts.setup.provision import provide

FOLDER = ROOT / "invitations"
SERVICE = "com.docker.compose.service"
NODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
# Exit statuses of `manage.py node check` -> the check, and the remedy. For all other failures: OTHERWISE.
REMEDIES = {
    3: (
        "images",
        "build them (make build RUNTIMES=…), or bring them from the first host: docker save IMAGE | "
        "ssh THIS-HOST docker load; then make join again",
    ),
    4: (
        "this node's name",
        "make join FROM=… NODE=another-name; if this host had the name itself and was cut off, wait a minute first",
    ),
}
OTHERWISE = (
    "what the first host has for this one",
    "correct the cause; if it is a password or an address, make invite again on the first host, then make join with "
    "the new file",
)


def invite() -> None:
    """NODE: name of the host that will join. TO: the file to write."""
    envfile.ensure()
    settings = envfile.settings()
    refuse_unless_publishing(settings)
    name = _node_name(os.environ.get("NODE", ""), needed=False)
    to = _target(os.environ.get("TO", ""), name)
    address = settings["SANDBOX_DATABASE_BIND"]
    if authority.ensure(address):
        say("The database has a new certificate: run make restart before the other host joins.")
    invitation.write(to, _invitation(settings, address, name))
    say(f"""
{to}
  It holds SECRETS: the passwords of the database roles of workers, keepers and egress. Only its owner reads it. Send
  it over an encrypted way (scp), and delete it here and there when the host has joined.

On the other host, in a checkout of version {invitation.platform_version()}:
  make join FROM={to.name}
It must reach {address}, port {settings.get("SANDBOX_DATABASE_PORT") or 5432}; let nobody else reach it (docs/hosts.md).
""")


def refuse_unless_publishing(settings: Mapping[str, str]) -> None:
    """Raises SetupError unless this is the first host, and its Postgres is published on purpose."""
    if envfile.is_joined():
        raise SetupError("make invite", "this host has joined another one", "run it on the first host")
    if settings.get("DATABASE_URL"):
        raise SetupError(
            "the database is not the stack's",
            "DATABASE_URL names another Postgres",
            "follow docs/hosts.md, by hand",
        )
    if not envfile.publishes_database() or not settings.get("SANDBOX_DATABASE_BIND"):
        raise SetupError(
            "this host's Postgres", "it is not published, so nobody can join", how_to_publish(settings)
        )
    if settings["SANDBOX_DATABASE_BIND"] in ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost"):  # noqa: S104
        raise SetupError(
            f"SANDBOX_DATABASE_BIND={settings['SANDBOX_DATABASE_BIND']}",
            "other hosts connect to it, and its certificate names it",
            "set the one address of this host that they reach",
        )


def how_to_publish(settings: Mapping[str, str]) -> str:
    files = settings.get("COMPOSE_FILE") or "docker-compose.yml"
    if envfile.HOSTS_FILE not in files.split(":"):
        files += f":{envfile.HOSTS_FILE}"
    return (
        f"in .env: SANDBOX_DATABASE_BIND=<address of this host that the others reach> and COMPOSE_FILE={files}; "
        "then make restart"
    )


def _invitation(settings: Mapping[str, str], address: str, name: str) -> Invitation:
    return Invitation(
        version=invitation.platform_version(),
        invited_by=stack.node(),
        address=address,
        port=int(settings.get("SANDBOX_DATABASE_PORT") or 5432),
        ca=(secret_files.FOLDER / authority.CA).read_text(encoding="ascii"),
        passwords={role: settings[f"SANDBOX_DATABASE_{role}_PASSWORD"] for role in invitation.ROLES},
        settings=invitation.shared(settings),
        node=name,
    )


def _target(wanted: str, name: str) -> Path:
    if not wanted:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        FOLDER.chmod(0o700)
    path = (Path(wanted).expanduser() if wanted else FOLDER / f"{name or 'host'}.json").absolute()
    if path.exists():
        raise SetupError(f"TO={path}", "it exists already", "delete it, or name another file")
    if not path.parent.is_dir():
        raise SetupError(f"TO={path}", f"the folder {path.parent} does not exist", f"mkdir -p {path.parent}")
    return path


def _node_name(wanted: str, *, needed: bool) -> str:
    name = wanted or (envfile.node_name() if needed else "")
    if name and not NODE.fullmatch(name):
        raise SetupError(
            f"NODE={name}", "a node's name has a-z, 0-9, dot, dash and underscore", "choose another name"
        )
    return name


def join() -> None:
    """FROM: the invitation. NODE: name of this host, by default the invitation's, the present one or its host name."""
    source = os.environ.get("FROM", "")
    if not source:
        raise SetupError("which invitation?", "FROM is not set", "make join FROM=file, which make invite wrote")
    if envfile.ENV.exists() and not envfile.is_joined():
        raise SetupError(
            "this machine has an installation of its own",
            ".env is there, and it has not joined another host",
            "to give it up with its data: make clean, move .env away; then make join",
        )
    found = invitation.read(Path(source).expanduser())
    wanted = os.environ.get("NODE", "") or found.node or envfile.read().get("SANDBOX_NODE", "")
    name = _node_name(wanted, needed=True)
    if name == found.invited_by:
        raise SetupError(f"NODE={name}", "the first host has this name", "make join FROM=… NODE=another-name")
    with step(f"reaching the database of {found.invited_by}"):
        reaching.check(found)
    with step("settings in .env") as current:
        secret_files.FOLDER.mkdir(mode=0o700, exist_ok=True)
        present = envfile.ENV.read_text(encoding="utf-8") if envfile.ENV.exists() else ""
        envfile.write_private(envfile.ENV, settings_of(found, name, present))
        current.note(f"node {name}")
    provide(envfile.ensure, images.ensure_all)
    stack.choose_engine()
    check_node(name)
    stack.start()
    say(f"""
Node {name} has joined {found.invited_by}: it takes runs, and the console's page Pool shows it.
Delete the invitation, here and there. Next: make doctor, make nodes, make drain, make help
""")


def settings_of(found: Invitation, name: str, present: str = "") -> str:
    """Return the text of .env of the host that joins, with nothing secret but what it needs.

    `present`: its text if the host has joined before, whose own settings stay; otherwise it begins with the example's.
    """
    example = envfile.EXAMPLE.read_text(encoding="utf-8")
    text, _ = envfile.complete(present, example, {"DOCKER_GID": envfile.docker_gid})
    files = envfile.parse(present).get("COMPOSE_FILE", "")
    if envfile.WORKER_FILE not in files.split(":"):
        files = f"docker-compose.yml:{envfile.WORKER_FILE}"
    values = {
        **found.settings,
        "SANDBOX_NODE": name,
        "COMPOSE_FILE": files,
        "DATABASE_URL": found.database_url,
        "SANDBOX_DATABASE_CA": found.ca_line,
        **{f"SANDBOX_DATABASE_{role}_PASSWORD": found.passwords[role] for role in invitation.ROLES},
        # The first host seals, and keeps the heads.
        "SANDBOX_SEAL_KEY_FILE": "",
        "SANDBOX_HEADS_FILE": "",
    }
    return envfile.with_values(text, values)


def check_node(name: str) -> None:
    """Raises SetupError if another host has this name, or a run could come here that finds no image."""
    with step("name of this node, and images of all enabled runtimes"):
        words = ["python3", "manage.py", "node", "check", *(["--running"] if _runs_as(name) else [])]
        done = run(compose("run", "--rm", "--no-deps", "-T", "keeper", *words))
        if done.returncode != 0:
            said = (done.stdout.strip() or done.stderr.strip() or "no answer").splitlines()[-20:]
            check, fix = REMEDIES.get(done.returncode, OTHERWISE)
            raise SetupError(check, "\n".join(said), fix)


def _runs_as(name: str) -> bool:
    """Return whether this host's own keeper or worker runs under this name."""
    own = (f"label={stack.LABEL}={name}", "status=running")
    return any(stack.ids("container", *own, f"label={SERVICE}={service}") for service in ("keeper", "worker"))


def drain() -> int:
    """NODE: by default this one."""
    return _manage("drain", os.environ.get("NODE", ""))


def give_back() -> int:
    """NODE: by default this one."""
    return _manage("return", os.environ.get("NODE", ""))


def nodes() -> int:
    return _manage("list", "")


def _manage(act: str, name: str) -> int:
    docker.ensure_running()
    return stack.in_front("exec", "-T", "keeper", "python3", "manage.py", "node", act, *([name] if name else []))
