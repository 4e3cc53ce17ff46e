"""Pushing images for Kubernetes: references, what is chosen, the file of values, and one image copied by skopeo."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from scripts import push
from scripts.push import Pushed, checked, chosen, parse, tags
from scripts.setup.host import SetupError
from scripts.setup.hosts.invitation import platform_version
from tests.deploy.helm.rendering import TRIAL, containers, merged, pods, render
from tests.scripts.release.making import entry, layer, saved

HERE = ["platform", "agent", "egress", "postgres", "fetch", "runtime-c", "runtime-python"]
DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    "registry", ["registry.example.com", "registry.example.com/sandbox", "127.0.0.1:5000/a/b-c", "r:5000"]
)
def test_a_registry_may_have_a_port_and_a_prefix(registry: str) -> None:
    assert checked(registry, "1.0") == (registry, "1.0")


@pytest.mark.parametrize("registry", ["", "https://r.example.com", "r/Upper", "r/a:tag", "r/a/", "r/a b", "r//a"])
def test_another_form_of_registry_is_refused_by_name(registry: str) -> None:
    with pytest.raises(SetupError, match="host"):
        checked(registry, "1.0")


@pytest.mark.parametrize("tag", ["-a", "a/b", "a b", "a" * 129])
def test_a_tag_that_no_registry_takes_is_refused(tag: str) -> None:
    with pytest.raises(SetupError) as refused:
        checked("r", tag)
    assert refused.value.check == f"TAG={tag}"


def test_the_tag_is_the_version_unless_one_is_named() -> None:
    assert checked("r", "")[1] == platform_version()


def test_the_platforms_images_and_all_built_runtimes_are_pushed() -> None:
    assert chosen("", HERE) == HERE


def test_an_image_that_is_not_built_is_named() -> None:
    with pytest.raises(SetupError) as refused:
        chosen("", [name for name in HERE if name != "agent"])
    assert refused.value.check == "the image sandbox-platform/agent:latest"


def test_images_for_builds_are_not_needed() -> None:
    assert "builder" not in chosen("", HERE)
    assert "fetch" not in chosen("", [name for name in HERE if name != "fetch"])


def test_only_what_is_named_is_pushed() -> None:
    assert chosen("runtime-c,agent", HERE) == ["runtime-c", "agent"]
    with pytest.raises(SetupError):
        chosen("runtime-go", HERE)


def test_agents_find_runtimes_under_their_usual_tag() -> None:
    assert tags("runtime-python", "1.0") == ["1.0", "latest"]
    assert tags("fetch", "latest") == ["latest"]
    assert tags("platform", "1.0") == ["1.0"]


def test_the_chart_takes_the_values() -> None:
    digests = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in [*HERE, "builder"]}
    text = push.values("registry.example.com/box", "1.0", [Pushed(*pair) for pair in digests.items()])
    written = yaml.safe_load(text)
    assert written["runtimes"] == ["c", "python"]
    changes = merged({"builder": {"enabled": True, "pushSecret": "p"}}, written)
    found = pods(render(merged(TRIAL, changes)))
    for part, container, image in (
        ("web", "web", "platform"),
        ("agent", "agent", "agent"),
        ("egress", "proxy", "egress"),
        ("postgres", "postgres", "postgres"),
        ("builder", "builder", "builder"),
    ):
        named = containers(found[part])[container]["image"]
        assert named == f"registry.example.com/box/{image}@{digests[image]}"


def test_what_has_no_place_in_the_values_is_told() -> None:
    text = push.values("r", "1.0", [Pushed("fetch", DIGEST), Pushed("runtime-c", DIGEST)])
    assert f"#   fetch@{DIGEST}\n" in text
    assert f"#   runtime-c@{DIGEST}\n" in text


def test_a_registry_without_tls_and_a_file_of_log_ins_are_passed_on(tmp_path: Path) -> None:
    options = parse(["--plain-http", "--auth-file", "/a.json"])
    words = [str(word) for word in push.copy_command("oci:a", "docker://r/b:1", tmp_path, options)]
    assert "--dest-tls-verify=false" in words
    assert words[words.index("--dest-authfile") + 1] == "/a.json"
    assert not {"--dest-tls-verify=false", "--dest-authfile"} & {
        *map(str, push.copy_command("oci:a", "docker://r/b:1", tmp_path, parse([])))
    }


def test_the_digest_is_that_of_the_manifest_at_the_target(tmp_path: Path) -> None:
    content = layer([entry("hello", b"there")])
    config = {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]}}
    archive = saved(tmp_path / "image.tar", [content], architecture="amd64", os="linux", config={}, **config)
    digest = push.copy(f"docker-archive:{archive}", f"dir:{tmp_path / 'there'}", parse([]))
    manifest = (tmp_path / "there/manifest.json").read_bytes()
    assert digest == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    assert json.loads(manifest)["layers"]
    # Docker's id of the image.
    with tarfile.open(archive) as tar:
        kept = tar.extractfile("config.json")
        assert kept
        assert json.loads(manifest)["config"]["digest"] == f"sha256:{hashlib.sha256(kept.read()).hexdigest()}"


def test_a_copy_that_fails_says_how_to_log_in(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        push.copy(f"docker-archive:{tmp_path}/none", "docker://127.0.0.1:1/a/b:1", parse([]))
    assert "skopeo login 127.0.0.1:1" in str(refused.value)


def test_a_registry_without_a_name_ends_the_command_before_anything_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert push.main([]) != 0
    assert "make push REGISTRY=" in capsys.readouterr().err
