"""The builder without Docker: see builds.engine. `manage.py builder` uses it, and one process at a time."""

import json
import os
import posixpath
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from builds.archives import packed, unpacked
from builds.buildah import files, references
from builds.buildah.commands import Buildah
from builds.buildah.forwarder import Forwarder
from builds.buildah.guest import Guest, OutputChannel, Program
from builds.engine import DEFAULTS_BYTES, FETCH, FETCHER, INSIDE, SECRETS
from sandboxes.direct.runsc import Runsc
from sandboxes.engine import ContainerState, EngineError
from sandboxes.sources.references import repository
from sandboxes.sources.source import CONTENT_ID

DEFAULTS = "/opt/fetch/defaults.json"


class BuildahEngine:
    def __init__(self) -> None:
        folder: Path = settings.SANDBOX_BUILD_DIR
        self._buildah = Buildah(folder)
        self._work = folder / "work"
        self._runsc = Runsc()
        self._roots: dict[str, Path] = {}
        self._guests: dict[str, Guest] = {}
        self._forwarders: dict[str, Forwarder] = {}

    def pull(self, reference: str) -> Iterator[str]:
        yield from self._buildah.pull(references.located(reference))

    def image(self, reference: str) -> dict[str, Any]:
        where = references.located(reference)
        *_, image_id = self._buildah.pull(where)
        if CONTENT_ID.fullmatch(reference) and reference != f"sha256:{image_id}":
            raise EngineError(f"{where} is another image")
        found = self._buildah.inspect(image_id)
        return {
            "Id": f"sha256:{image_id}",
            "RepoDigests": [f"{repository(where)}@{found['FromImageDigest']}"],
            "Config": found["Docker"]["config"],
        }

    def create_builder(self, image_id: str, build_id: int) -> str:
        script = ("/bin/sh", f"{INSIDE}/build.sh")
        environment = _environment(self._buildah.inspect(image_id.removeprefix("sha256:")))
        return self._create(image_id, build_id, Program(script, environment, 0, capable=True))

    def create_forwarder(self, fetch_image_id: str, build_id: int) -> str:
        """See builds.engine. The image has its defaults only: nothing of a registry runs outside of gVisor."""
        name = self._named(build_id)
        self._roots[name] = self._buildah.create(fetch_image_id, name)
        self._forwarders[name] = Forwarder(self._work / name)
        return name

    def defaults(self, forwarder: str) -> dict[str, str]:
        (content,) = self.files(forwarder, DEFAULTS, DEFAULTS_BYTES).values()
        return dict(json.loads(content))

    def route(self, forwarder: str, routes: Mapping[str, Mapping[str, str]]) -> None:
        self._forwarders[forwarder].route(routes)

    def create_fetcher(self, fetch_image_id: str, build_id: int, forwarder: str, files: Mapping[str, str]) -> str:
        found = self._buildah.inspect(fetch_image_id.removeprefix("sha256:"))
        arguments = tuple(found["Docker"]["config"]["Entrypoint"])
        door = self._forwarders[forwarder].door
        program = Program(arguments, _environment(found), FETCHER, capable=False, folder=FETCH, door=door)
        container = self._create(fetch_image_id, build_id, program)
        self.put(container, SECRETS, files, owner=FETCHER)
        return container

    def _named(self, build_id: int) -> str:
        name = f"build-{build_id}-{secrets.token_hex(8)}"
        (self._work / name).mkdir(mode=0o711, parents=True)
        return name

    def _create(self, image_id: str, build_id: int, program: Program) -> str:
        name = self._named(build_id)
        self._roots[name] = root = self._buildah.create(image_id, name)
        self._guests[name] = Guest(self._runsc, self._work / name, root, program)
        return name

    def put(self, container_id: str, folder: str, files: Mapping[str, str | bytes], *, owner: int = 0) -> None:
        self.put_archive(container_id, "/", [packed(folder, files, owner=owner)])

    def files(self, container_id: str, path: str, limit: int) -> dict[str, bytes]:
        chunks = self.archive(container_id, path)
        first = next(chunks, None)
        if first is None:
            return {}
        return unpacked(_with(first, chunks), posixpath.dirname(path), limit)

    def archive(self, container_id: str, path: str) -> Iterator[bytes]:
        yield from files.read(self._roots[container_id], path)

    def put_archive(self, container_id: str, folder: str, chunks: Iterable[bytes]) -> None:
        files.write(self._roots[container_id], folder, chunks)

    def attach(self, container_id: str) -> OutputChannel:
        return self._guests[container_id].attach()

    def start(self, container_id: str) -> None:
        if container_id in self._forwarders:
            self._forwarders[container_id].start()
        else:
            self._guests[container_id].start()

    def state_after_end(self, container_id: str) -> ContainerState:
        return self._guests[container_id].state_after_end()

    def remove(self, container_id: str) -> None:
        for running in (self._guests.pop(container_id, None), self._forwarders.pop(container_id, None)):
            if running:
                running.remove()
        self._roots.pop(container_id, None)
        self._buildah.remove(container_id)
        shutil.rmtree(self._work / container_id, ignore_errors=True)

    def commit(self, container_id: str, image_id: str, repository: str, tag: str) -> str:
        """See builds.engine. The container has the configuration of its image: the steps ran beside it."""
        made = self._buildah.commit(container_id)
        self.tag(made, repository, tag)
        return made

    def tag(self, image_id: str, repository: str, tag: str) -> None:
        self._buildah.push(image_id, references.located(image_id))

    def untag(self, name: str) -> None:
        """Do nothing: an image of a build has no name. What is in the registry stays."""

    def tidy(self) -> None:
        for name in [*self._guests, *self._forwarders]:
            self.remove(name)
        if self._work.exists():
            # Of a process that died. A sandbox outlives it.
            for name in os.listdir(self._work):
                self._runsc.kill(name)
                shutil.rmtree(self._work / name, ignore_errors=True)
        self._buildah.clear()


def _environment(found: Mapping[str, Any]) -> dict[str, str]:
    pairs = found["Docker"]["config"].get("Env") or ()
    return dict(pair.partition("=")[::2] for pair in pairs)


def _with(first: bytes, others: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from others
