"""What Docker has of a platform, asked by id: containers come and go between a list and a look."""

from contextlib import closing
from typing import Any

import docker

from tests.live import Platform


def container_ids(platform: Platform) -> list[str]:
    with closing(docker.APIClient()) as api:
        found = api.containers(all=True, filters={"label": f"sandbox-platform={platform.node}"})
    return [container["Id"] for container in found]


def inspect(container_id: str) -> dict[str, Any]:
    with closing(docker.APIClient()) as api:
        return dict(api.inspect_container(container_id))


def kill(container_id: str) -> None:
    with closing(docker.APIClient()) as api:
        api.kill(container_id)
