"""Images from a real registry, through the real skopeo."""

import base64
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes.direct.images import Store
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.sources import registry as registry_module
from sandboxes.sources import skopeo
from sandboxes.sources.registry import ASK_AGAIN_S, RegistrySource
from sandboxes.sources.source import Damaged, SourceUnavailable
from tests.sandboxes.sources.made import ARCHITECTURE, CONFIG, Made, digest, file, folder, image, layer
from tests.sandboxes.sources.running_registry import Registry

NAME = "sandbox-platform/runtime-python:latest"
IN_REGISTRY = "runtime-python:latest"
Sources = Callable[[], RegistrySource]


@pytest.fixture
def registry(started_registry: Registry, settings: Settings, request: pytest.FixtureRequest) -> Registry:
    """The registry of the session, with a prefix of this test's own."""
    started_registry.prefix = f"localhost:{started_registry.port}/{abs(hash(request.node.name))}"
    settings.SANDBOX_IMAGE_REGISTRY = started_registry.prefix
    settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = True
    return started_registry


@pytest.fixture
def sources(store_folder: Path) -> Sources:
    """Makes what another process of the node would have."""
    return lambda: RegistrySource(store_folder)


@pytest.fixture
def source(sources: Sources) -> RegistrySource:
    return sources()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def never(*_: object) -> bytes:
        raise AssertionError("the registry was asked")

    def begin() -> None:
        monkeypatch.setattr(skopeo, "manifest", never)
        monkeypatch.setattr(skopeo, "copy", never)

    return begin


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def pass_time(seconds: float) -> None:
        now = registry_module.references.now() + seconds
        monkeypatch.setattr(registry_module.references, "now", lambda: now)
        monkeypatch.setattr(registry_module, "LOOK_AGAIN_S", 0.0)

    return pass_time


def an_image(text: str = "text") -> Made:
    return image(layer(folder("etc"), file("etc/a", "old!")), layer(file("etc/a", text)))


def exported(source: RegistrySource, image_id: str) -> dict[str, bytes]:
    archive = io.BytesIO()
    assert source.export(image_id, archive) == CONFIG
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        return {one.name: content.read() for one in tar if (content := tar.extractfile(one))}


def test_id_is_that_of_the_configuration(registry: Registry, source: RegistrySource) -> None:
    made = an_image()
    registry.push(made, IN_REGISTRY)
    assert source.image_id(NAME) == made.image_id


def test_image_is_exported_with_its_layers_on_top_of_each_other(
    registry: Registry, source: RegistrySource
) -> None:
    registry.push(an_image("new"), IN_REGISTRY)
    assert exported(source, source.image_id(NAME)) == {"etc/a": b"new"}


def test_image_in_dockers_format_keeps_its_id(registry: Registry, source: RegistrySource) -> None:
    registry.push(an_image("new"), IN_REGISTRY, "--format", "v2s2")
    raw = json.loads(skopeo.manifest(f"{registry.prefix}/{IN_REGISTRY}"))
    assert source.image_id(NAME) == raw["config"]["digest"]
    assert exported(source, source.image_id(NAME)) == {"etc/a": b"new"}


def test_index_leads_to_the_image_of_this_machine(registry: Registry, source: RegistrySource) -> None:
    mine, others = an_image("mine"), an_image("others")
    for made, tag in ((mine, "mine"), (others, "others")):
        registry.push(made, f"runtime-python:{tag}")
    entries = [
        {
            "digest": digest(made.manifest),
            "size": len(made.manifest),
            "platform": {"os": "linux", "architecture": a},
        }
        for made, a in ((others, "riscv64"), (mine, ARCHITECTURE))
    ]
    for entry in entries:
        entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    )
    registry.put_index("runtime-python", "latest", index.encode())
    assert exported(source, source.image_id(NAME)) == {"etc/a": b"mine"}


def test_digest_in_the_name_pins_the_image(registry: Registry, source: RegistrySource) -> None:
    made = an_image()
    registry.push(made, IN_REGISTRY)
    pinned = f"{registry.prefix}/runtime-python:latest@{digest(made.manifest)}"
    registry.push(an_image("newer"), IN_REGISTRY)
    assert source.image_id(pinned) == made.image_id


def test_image_that_moves_meanwhile_is_fetched_as_it_was_named(registry: Registry, source: RegistrySource) -> None:
    registry.push(an_image("first"), IN_REGISTRY)
    found = source.image_id(NAME)
    registry.push(an_image("second"), IN_REGISTRY)
    assert exported(source, found) == {"etc/a": b"first"}


def test_content_id_that_the_node_never_saw_is_found_by_its_tag(
    registry: Registry, source: RegistrySource
) -> None:
    made = an_image("built")
    registry.push(made, f"by-content:{made.image_id.removeprefix('sha256:')}")
    assert source.image_id(made.image_id) == made.image_id
    assert exported(source, made.image_id) == {"etc/a": b"built"}


def test_tag_of_a_content_id_on_another_image_is_refused(registry: Registry, source: RegistrySource) -> None:
    wanted = an_image("wanted").image_id
    registry.push(an_image("another"), f"by-content:{wanted.removeprefix('sha256:')}")
    with pytest.raises(Damaged, match="not the image that its tag says"):
        source.image_id(wanted)


def test_image_that_the_registry_does_not_have_is_missing(registry: Registry, source: RegistrySource) -> None:
    with pytest.raises(ImageMissing, match="runtime-python:latest"):
        source.image_id(NAME)


def test_unknown_content_id_is_missing(registry: Registry, source: RegistrySource) -> None:
    with pytest.raises(ImageMissing):
        source.image_id(f"sha256:{'0' * 64}")


def test_registry_that_does_not_answer_is_unavailable(source: RegistrySource, settings: Settings) -> None:
    settings.SANDBOX_IMAGE_REGISTRY = "localhost:1/ours"
    with pytest.raises(SourceUnavailable, match="connection refused"):
        source.image_id(NAME)


def test_registry_without_tls_is_refused_unless_the_setting_allows_it(
    registry: Registry, source: RegistrySource, settings: Settings
) -> None:
    settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = False
    with pytest.raises(EngineError, match="SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP"):
        source.image_id(NAME)


def test_other_processes_of_the_node_do_not_ask_again(
    registry: Registry, source: RegistrySource, sources: Sources, away: Callable[[], None]
) -> None:
    made = an_image()
    registry.push(made, IN_REGISTRY)
    source.image_id(NAME)
    away()
    assert sources().image_id(NAME) == made.image_id


def test_known_image_serves_while_the_registry_is_away(
    registry: Registry,
    source: RegistrySource,
    sources: Sources,
    settings: Settings,
    later: Callable[[float], None],
) -> None:
    made = an_image()
    registry.push(made, IN_REGISTRY)
    source.image_id(NAME)
    later(ASK_AGAIN_S + 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(skopeo, "manifest", _unavailable)
        after = sources()
        after.refresh(f"{registry.prefix}/{IN_REGISTRY}")
        assert after.image_id(NAME) == made.image_id


def _unavailable(_reference: str) -> bytes:
    raise SourceUnavailable("away")


def test_image_that_moved_is_seen_after_a_while(
    registry: Registry, source: RegistrySource, sources: Sources, later: Callable[[float], None]
) -> None:
    registry.push(an_image("first"), IN_REGISTRY)
    source.image_id(NAME)
    second = an_image("second")
    registry.push(second, IN_REGISTRY)
    assert sources().image_id(NAME) != second.image_id
    later(ASK_AGAIN_S + 1)
    source.refresh(f"{registry.prefix}/{IN_REGISTRY}")
    assert sources().image_id(NAME) == second.image_id


def test_image_that_was_removed_is_missing_after_a_while(
    registry: Registry, source: RegistrySource, sources: Sources
) -> None:
    made = an_image()
    registry.push(made, IN_REGISTRY)
    source.image_id(NAME)
    registry.remove("runtime-python", digest(made.manifest))
    source.refresh(f"{registry.prefix}/{IN_REGISTRY}")
    with pytest.raises(ImageMissing):
        sources().image_id(NAME)


def test_damaged_layer_is_refused_and_leaves_nothing(
    registry: Registry, source: RegistrySource, store_folder: Path, tmp_path: Path
) -> None:
    made = image(layer(file("only this image has it")))
    registry.push(made, IN_REGISTRY)
    image_id = source.image_id(NAME)
    packed = next(iter(made.blobs))
    blob = registry.blob(packed)
    blob.write_bytes(bytes(len(blob.read_bytes())))
    store = Store(store_folder, tmp_path / "checked")
    with pytest.raises(Damaged, match="damaged"):
        store.image(image_id, lambda archive: source.export(image_id, archive))
    assert (store.names(), [path.name for path in store_folder.glob("fetch.*")]) == ([], [])


def test_image_is_unpacked_for_the_engine(
    registry: Registry, source: RegistrySource, store_folder: Path, tmp_path: Path
) -> None:
    registry.push(an_image("new"), IN_REGISTRY)
    image_id = source.image_id(NAME)
    unpacked = Store(store_folder, tmp_path / "checked").image(
        image_id, lambda archive: source.export(image_id, archive)
    )
    shown = subprocess.run(
        ["dump.erofs", "--path=/etc/a", unpacked.file], capture_output=True, text=True, check=True
    )
    assert unpacked.entrypoint == ("/runner",)
    assert "Size: 3 " in shown.stdout  # "new", and not "old!"


@pytest.fixture
def guarded(tmp_path: Path, settings: Settings) -> Iterator[Registry]:
    """A registry over TLS, with a certificate of an unknown authority, that asks for a name and a password."""
    certificate, key, users = tmp_path / "ca.crt", tmp_path / "key.pem", tmp_path / "users"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    # bcrypt of "secret", the only form that the registry takes.
    users.write_text("puller:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n")
    folder = tmp_path / "registry"
    folder.mkdir()
    with Registry(folder, users=users, tls=(certificate, key)) as running:
        settings.SANDBOX_IMAGE_REGISTRY = running.prefix
        settings.SANDBOX_IMAGE_REGISTRY_CA_FILE = str(certificate)
        running.push(an_image("guarded"), IN_REGISTRY, "--dest-creds=puller:secret")
        yield running


def auth_file(path: Path, port: int, pair: str) -> str:
    auths = {f"localhost:{port}": {"auth": base64.b64encode(pair.encode()).decode()}}
    path.write_text(json.dumps({"auths": auths}))
    return str(path)


def test_pull_secret_and_authority_open_a_guarded_registry(
    guarded: Registry, source: RegistrySource, settings: Settings, tmp_path: Path
) -> None:
    settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = auth_file(tmp_path / "auth", guarded.port, "puller:secret")
    assert exported(source, source.image_id(NAME)) == {"etc/a": b"guarded"}


@pytest.mark.parametrize("pair", ["", "puller:wrong"])
def test_registry_that_refuses_names_the_setting_of_the_account(
    guarded: Registry, source: RegistrySource, settings: Settings, tmp_path: Path, pair: str
) -> None:
    if pair:
        settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = auth_file(tmp_path / "auth", guarded.port, pair)
    with pytest.raises(SourceUnavailable, match="SANDBOX_IMAGE_REGISTRY_AUTH_FILE"):
        source.image_id(NAME)


def test_registry_of_an_unknown_authority_names_the_setting(
    guarded: Registry, source: RegistrySource, settings: Settings
) -> None:
    settings.SANDBOX_IMAGE_REGISTRY_CA_FILE = ""
    with pytest.raises(SourceUnavailable, match="SANDBOX_IMAGE_REGISTRY_CA_FILE"):
        source.image_id(NAME)


def test_missing_skopeo_is_named(
    source: RegistrySource, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_IMAGE_REGISTRY = "localhost:1/ours"
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match="skopeo is missing"):
        source.image_id(NAME)
