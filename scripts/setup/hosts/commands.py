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
NODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
PUBLISH = (
    f"in .env: SANDBOX_DATABASE_BIND=<address of this host that the others reach> and "
    f"COMPOSE_FILE=docker-compose.yml:{envfile.HOSTS_FILE}; then make restart"
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
    invitation.write(to, _invitation(settings, address))
    say(f"""
{to}
  It holds SECRETS: the passwords of the database roles of workers, keepers and egress. Only its owner reads it. Send
  it over an encrypted way (scp), and delete it here and there when the host has joined.

On the other host, in a checkout of version {invitation.platform_version()}:
  make join FROM={to.name}{f" NODE={name}" if name else ""}
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
        raise SetupError("this host's Postgres", "it is not published, so nobody can join", PUBLISH)
    if settings["SANDBOX_DATABASE_BIND"] in ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost"):  # noqa: S104
        raise SetupError(
            f"SANDBOX_DATABASE_BIND={settings['SANDBOX_DATABASE_BIND']}",
            "other hosts connect to it, and its certificate names it",
            "set the one address of this host that they reach",
        )


def _invitation(settings: Mapping[str, str], address: str) -> Invitation:
    return Invitation(
        version=invitation.platform_version(),
        invited_by=stack.node(),
        address=address,
        port=int(settings.get("SANDBOX_DATABASE_PORT") or 5432),
        ca=(secret_files.FOLDER / authority.CA).read_text(encoding="ascii"),
        passwords={role: settings[f"SANDBOX_DATABASE_{role}_PASSWORD"] for role in invitation.ROLES},
        settings=invitation.shared(settings),
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
    """FROM: the invitation. NODE: name of this host, by default its host name."""
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
    name = _node_name(os.environ.get("NODE", "") or envfile.read().get("SANDBOX_NODE", ""), needed=True)
    if name == found.invited_by:
        raise SetupError(f"NODE={name}", "the first host has this name", "make join FROM=… NODE=another-name")
    with step(f"reaching the database of {found.invited_by}"):
        reaching.check(found)
    with step("settings in .env") as current:
        secret_files.FOLDER.mkdir(mode=0o700, exist_ok=True)
        envfile.write_private(envfile.ENV, settings_of(found, name))
        current.note(f"node {name}")
    provide(envfile.ensure, images.ensure_all)
    stack.choose_engine()
    check_images()
    stack.start()
    say(f"""
Node {name} has joined {found.invited_by}: it takes runs, and the console's page Pool shows it.
Delete the invitation, here and there. Next: make doctor, make nodes, make drain, make help
""")


def settings_of(found: Invitation, name: str) -> str:
    """Return the text of .env of the host that joins: the example's, and nothing secret but what it needs."""
    example = envfile.EXAMPLE.read_text(encoding="utf-8")
    text, _ = envfile.complete("", example, {"DOCKER_GID": envfile.docker_gid})
    values = {
        **found.settings,
        "SANDBOX_NODE": name,
        "COMPOSE_FILE": f"docker-compose.yml:{envfile.WORKER_FILE}",
        "DATABASE_URL": found.database_url,
        "SANDBOX_DATABASE_CA": "".join(found.ca.split("-----")[2].split()),
        **{f"SANDBOX_DATABASE_{role}_PASSWORD": found.passwords[role] for role in invitation.ROLES},
        # The first host seals, and keeps the heads.
        "SANDBOX_SEAL_KEY_FILE": "",
        "SANDBOX_HEADS_FILE": "",
    }
    return envfile.with_values(text, values)


def check_images() -> None:
    """Raises SetupError if a run could come here that finds no image."""
    with step("images of all enabled runtimes"):
        done = run(compose("run", "--rm", "--no-deps", "-T", "keeper", "python3", "manage.py", "node", "check"))
        if done.returncode != 0:
            said = (done.stdout.strip() or done.stderr.strip() or "no answer").splitlines()[-20:]
            raise SetupError(
                "images",
                "\n".join(said),
                "build them (make build RUNTIMES=…), or bring them from the first host: docker save IMAGE | "
                "ssh THIS-HOST docker load; then make join again",
            )


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
