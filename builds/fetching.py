"""Fetch packages with the platform's own image. Nothing of a runtime's image runs where the mirrors' secrets are."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from builds import mirrors
from builds.archives import without
from builds.engine import FETCH, FETCHER, INSIDE, BuildEngine
from builds.models import RuntimeBuild
from builds.record import BuildFailed, Record
from builds.running import run
from sandboxes.engine import ImageMissing

# Where no file names it: in the registry.
FETCH_IMAGE = "sandbox-platform/fetch:latest"
OUT = ("debs", "wheels", "pip", "node_modules")


def fetch_image(engine: BuildEngine) -> str:
    """Return the content id of the fetching image, which the set-up has written. Its name could have moved."""
    image_id = mirrors.host_file("fetch_image").strip()
    if settings.SANDBOX_BUILDER == "buildah":
        # A registry that lacks it says so itself.
        return str(engine.image(image_id or FETCH_IMAGE)["Id"])
    try:
        if image_id:
            return str(engine.image(image_id)["Id"])
    except ImageMissing:
        pass
    raise BuildFailed("The image that fetches packages is not on this node: run `make build`, then `make start`.")


def fetch(
    engine: BuildEngine,
    build: RuntimeBuild,
    record: Record,
    builder: str,
    job: Mapping[str, Any],
    files: Mapping[str, str | bytes],
    apt_sources: str = "",
) -> None:
    """Fetch what the job asks for (see images/fetch/fetch.py) into the builder. `files` are put below /fetch.

    Raises BuildFailed.
    """
    image = fetch_image(engine)
    with removed(engine, engine.create_forwarder(image, build.pk)) as forwarder:
        here = mirrors.read(apt_sources, engine.defaults(forwarder))
        record.hide(here.secrets)
        engine.route(forwarder, {tool: here.routes[tool] for tool in job})
        engine.start(forwarder)
        with removed(engine, engine.create_fetcher(image, build.pk, forwarder, here.files)) as fetcher:
            engine.put(fetcher, FETCH, {"job.json": json.dumps(job), **files}, owner=FETCHER)
            run(engine, fetcher, record)
            for name in OUT:
                move(engine, fetcher, builder, name, here.secrets, record)


def move(
    engine: BuildEngine, fetcher: str, builder: str, name: str, secrets: tuple[str, ...], record: Record
) -> None:
    """Copy a folder of fetched files to the builder, if there is one."""
    chunks = engine.archive(fetcher, f"{FETCH}/out/{name}")
    first = next(chunks, None)
    if first is None:
        return

    def watched() -> Iterator[bytes]:
        yield first
        for chunk in chunks:
            record.beat()
            yield chunk

    try:
        engine.put_archive(builder, INSIDE, without(watched(), secrets))
    except ValueError as e:
        raise BuildFailed(f"{name}: {e}.") from e


@contextmanager
def removed(engine: BuildEngine, container: str) -> Iterator[str]:
    try:
        yield container
    finally:
        engine.remove(container)
