"""Find the Compose stack of this checkout and its token, from .env and from Docker."""

from contextlib import closing
from typing import Any

import docker

from scripts.setup import envfile
from scripts.setup.stack import base_url


def url() -> str:
    return base_url(envfile.settings())


def token() -> str:
    return envfile.settings()["SANDBOX_EXECUTOR_MANAGER_API_TOKEN"]


def database_url() -> str:
    """Return the address of the database container: it is on an internal network that only this host reaches."""
    settings = envfile.settings()
    if settings.get("DATABASE_URL"):
        return settings["DATABASE_URL"]
    filters: dict[str, Any] = {
        "label": ["com.docker.compose.project=sandbox-platform", "com.docker.compose.service=postgres"]
    }
    with closing(docker.DockerClient.from_env()) as client:
        containers = client.containers.list(filters=filters)
    if not containers:
        raise SystemExit("The stack is not running: run `make start`.")
    (network, *_) = containers[0].attrs["NetworkSettings"]["Networks"].values()
    return f"postgresql://sandbox:{settings['POSTGRES_PASSWORD']}@{network['IPAddress']}:5432/sandbox"
