"""Packages, foreign images and the way back, on a running platform; real programs call it meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
import requests

from scripts.setup import certificates
from tests.bare import bare_image as make_bare_image
from tests.builds.local_mirrors import HANGS, Mirrors, local_mirrors
from tests.live import Platform, eventually

pytestmark = pytest.mark.needs_docker

TOKEN = "live-test-administrator-0123456789"
ADMINISTRATOR = f"""
from clients.models import Client
Client.objects.create_with_token("builder", "{TOKEN}")
Client.objects.filter(name="builder").update(role="administrator")
"""
BUILT = ("live", "ready", "failed", "cancelled")
PACKAGE = "greeting"
USES_IT = "def main():\n    import greeting\n    return greeting.greet()"
ANSWER = "hello again"
DOES_NOT = "def main():\n    return 7"


class Builder:
    """An administrator's client of the API."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.request(
            method, f"{self.platform.url}/api/v1{path}", json=body, headers=headers, timeout=60
        )

    def build(self, runtime: str, body: Any) -> dict[str, Any]:
        """How it ended."""
        answer = self.call("POST", f"/runtimes/{runtime}/builds", body)
        assert answer.status_code == 202, answer.text
        return self.until_ended(runtime, answer.json()["number"])

    def until_ended(self, runtime: str, number: int) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            build: dict[str, Any] = self.call("GET", f"/runtimes/{runtime}/builds/{number}").json()
            return build if build["state"] in BUILT else None

        return dict(eventually(ended, f"build {number} of {runtime} ends", 300))

    def live(self, runtime: str) -> list[int]:
        return [
            b["number"] for b in self.call("GET", f"/runtimes/{runtime}/builds").json() if b["state"] == "live"
        ]

    def execute(self, runtime: str, code: str, **more: Any) -> dict[str, Any]:
        body = {"runtime": runtime, "code": code, "mode": "script", "wait": 30} | more
        answer = self.call("POST", "/executions", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


class Caller(threading.Thread):
    """RAGFlow, calling all the time."""

    def __init__(self, platform: Platform) -> None:
        super().__init__()
        self.platform = platform
        self.answers: list[tuple[int, Any]] = []
        self.seconds: list[float] = []
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.05):
            answer = self.platform.post(
                {"code_b64": "ZGVmIG1haW4oKToKICAgIHJldHVybiA3", "language": "python", "arguments": {}}
            )
            self.seconds.append(answer.elapsed.total_seconds())
            self.answers.append((answer.status_code, answer.json().get("result", {}).get("value")))

    def stop(self) -> None:
        self._done.set()
        self.join()


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrors]:
    with local_mirrors(tmp_path_factory.mktemp("mirrors")) as mirrors:
        yield mirrors


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory, mirrors: Mirrors) -> Iterator[Builder]:
    platform = Platform(tmp_path_factory.mktemp("builds"), SANDBOX_TIMEOUT="30s")
    certificates.write_build_config(platform.folder / "build-config")
    mirrors.write_config(platform.folder / "build-config")
    try:
        platform.start("python")
        platform.keep_one_smoke_program()
        platform.manage("shell", "-c", ADMINISTRATOR)
        yield Builder(platform)
    finally:
        platform.stop()


@pytest.fixture(scope="module")
def bare_image() -> Iterator[str]:
    with make_bare_image() as image:
        yield image


# --- packages --------------------------------------------------------------------------------------------


def test_package_is_added_under_load_without_one_failed_run(builder: Builder) -> None:
    assert builder.platform.run(USES_IT)["exit_code"] != 0
    caller = Caller(builder.platform)
    caller.start()
    try:
        build = builder.build("python", {"packages": {"pip": [PACKAGE]}})
        so_far = len(caller.answers)
        eventually(lambda: len(caller.answers) >= so_far + 2, "two runs after the swap")
    finally:
        caller.stop()
    assert so_far
    assert (build["state"], build["error"]) == ("live", "")
    assert builder.platform.run(USES_IT)["result"]["value"] == ANSWER
    assert set(caller.answers) == {(200, 7)}


def test_pool_was_never_empty_at_the_swap(builder: Builder) -> None:
    # The first to have a sandbox of it, not the first that was queued since: an earlier one may have taken that.
    built = "SELECT image_id FROM runtimes_runtimebuild WHERE number = 1"
    (first,) = builder.platform.sql(
        f"SELECT warm FROM executions_execution WHERE image_id = ({built}) ORDER BY sandbox_at LIMIT 1"
    )
    assert first["warm"]


def test_container_of_a_built_image_is_not_taken_for_the_builder(builder: Builder) -> None:
    build = builder.call("GET", "/runtimes/python/builds/1").json()
    with closing(docker.from_env()) as client:
        container = client.containers.create(build["image_id"])
        try:
            assert container.id not in {found.id for found in builder.platform.containers()}
        finally:
            container.remove()


def test_failing_build_says_which_package_and_leaves_what_runs(builder: Builder) -> None:
    before = builder.call("GET", "/runtimes/python").json()
    build = builder.build("python", {"packages": {"pip": [PACKAGE, "no-such-package-1f0c"]}})
    assert build["state"] == "failed"
    assert "no-such-package-1f0c" in build["error"]
    assert build["error"] in build["log"]
    assert builder.call("GET", "/runtimes/python").json() == before
    assert builder.platform.run(USES_IT)["result"]["value"] == ANSWER


def test_image_that_fails_its_smoke_program_never_goes_live(builder: Builder) -> None:
    smoke = '[{"name": "wrong", "code": "print(1)", "expect": {"stdout": "2\\n"}}]'
    kept = builder.platform.sql("SELECT smoke::text FROM runtimes_runtime WHERE slug = 'python'")[0]["smoke"]
    builder.platform.sql("UPDATE runtimes_runtime SET smoke = %s WHERE slug = 'python'", smoke)
    live = builder.live("python")
    build = builder.build("python", {"packages": {}})
    builder.platform.sql("UPDATE runtimes_runtime SET smoke = %s WHERE slug = 'python'", kept)
    assert (build["state"], build["image_id"]) == ("failed", "")
    assert 'Probe wrong: stdout is "1\\n"' in build["error"]
    assert builder.live("python") == live


def test_one_goes_back_to_an_earlier_build(builder: Builder) -> None:
    plain = builder.build("python", {"packages": {}})
    assert plain["state"] == "live"
    assert builder.platform.run(USES_IT)["exit_code"] != 0
    assert builder.call("POST", "/runtimes/python/builds/1/activate").status_code == 202
    eventually(lambda: builder.live("python") == [1], "build 1 is live again")
    assert builder.platform.run(USES_IT)["result"]["value"] == ANSWER


def test_packages_come_from_the_mirrors_of_this_host(builder: Builder, mirrors: Mirrors) -> None:
    """Over TLS, with Debian's signatures, and beside the packages that the image has."""
    config = builder.platform.folder / "build-config"
    certificates.write_build_config(config)
    builder.platform.change_runtime("nodejs", enabled=True)
    try:
        build = builder.build("nodejs", {"packages": {"npm": ["left-pad@1.3.0"], "apt": ["cowsay"]}})
    finally:
        mirrors.write_config(config)
    assert (build["state"], build["error"]) == ("live", "")
    code = "async function main() { return [require('left-pad')(7, 3, '0'), typeof require('axios').get] }"
    assert builder.platform.run(code, "nodejs")["result"]["value"] == ["007", "function"]
    with closing(docker.from_env()) as client:
        client.containers.run(
            build["image_id"], ["-c", "test -x /usr/games/cowsay"], entrypoint="/bin/sh", network_mode="none",
            remove=True,
        )  # fmt: skip


def test_cancelled_build_ends_and_leaves_no_container(builder: Builder, mirrors: Mirrors) -> None:
    number = builder.call("POST", "/runtimes/python/builds", {"packages": {"pip": [HANGS]}}).json()["number"]
    path = f"/runtimes/python/builds/{number}"
    assert mirrors.hanging.wait(60)
    assert builder.call("POST", f"{path}/cancel").status_code == 202
    assert builder.until_ended("python", number)["state"] == "cancelled"
    kinds = [container.labels["sandbox-platform.kind"] for container in builder.platform.containers()]
    assert "build" not in kinds


# --- any image -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(builder: Builder, bare_image: str) -> str:
    """The runtime that an administrator makes of it."""
    body = {
        "slug": "bare",
        "name": "Nothing but a shell",
        "image": bare_image,
        "source_file": "main.sh",
        "runner": "shell",
        "modes": ["script"],
        "run_command": "/bin/sh {source}",
        "pool_min": 0,
        "pool_max": 2,
        # A busy machine takes long to fill the memory.
        "limits": {"wall_time_ms": 25_000, "cpu_time_ms": 20_000, "output_bytes": 100_000},
    }
    answer = builder.call("POST", "/runtimes", body)
    assert answer.status_code == 201, answer.text
    assert builder.build("bare", {"kind": "pull"})["state"] == "live"
    return "bare"


@pytest.mark.parametrize(
    ("code", "more", "expected"),
    [
        ("echo hello", {}, {"status": "succeeded", "stdout": "hello\n"}),
        (
            'while read -r x; do echo "<$x>"; done',
            {"stdin": "a\n%s\\'\"$(b)\n"},
            {"stdout": "<a>\n<%s\\'\"$(b)>\n"},
        ),
        ('printf "%s|" "$@"', {"argv": ["-a", "b c", "'"]}, {"stdout": "-a|b c|'|"}),
        ('echo "$GREETING"', {"environment": {"GREETING": "h\u00e4\n$HOME"}}, {"stdout": "h\u00e4\n$HOME\n"}),
        ("read x < in.txt; echo $x", {"files": [{"path": "in.txt", "content": "there\n"}]}, {"stdout": "there\n"}),
        ("echo bad >&2; exit 3", {}, {"status": "failed", "exit_code": 3, "stderr": "bad\n"}),
        ("kill -9 $$", {}, {"status": "failed", "exit_code": 137}),
        # Far below the wall's limit, so that a busy machine reaches it first too.
        (
            "while :; do :; done",
            {"limits": {"cpu_time_ms": 500}},
            {"status": "timed_out", "outcome": "cpu_time"},
        ),
        ("read x < /dev/zero", {"limits": {"wall_time_ms": 1000}}, {"status": "timed_out"}),
        (
            "while :; do echo 0123456789; done",
            {"limits": {"wall_time_ms": 1500, "output_bytes": 2000}},
            {"stdout_truncated": True},
        ),
        ("x=0123456789abcdef; while :; do x=$x$x; done", {}, {"status": "out_of_memory"}),
        ("echo x > /bin/x || exit 4", {}, {"status": "failed"}),
    ],
)
def test_image_with_nothing_but_a_shell_runs_under_all_limits(
    builder: Builder, bare: str, code: str, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    execution = builder.execute(bare, code, **more)
    assert {name: execution[name] for name in expected} == expected


def test_program_without_a_runner_is_nobody_in_gvisor_from_the_start(builder: Builder, bare: str) -> None:
    wanted = "Uid:|CapEff:|CapBnd:"
    code = f"while read -r key value; do case $key in {wanted}) echo $key $value;; esac; done < /proc/1/status"
    execution = builder.execute(bare, code)
    assert execution["stdout"].split("\n")[:3] == [
        "Uid: 65534 65534 65534 65534",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
    ]


def test_pulled_image_is_pinned(builder: Builder, bare: str, bare_image: str) -> None:
    pinned = builder.execute(bare, "echo hello")["image_id"]
    with closing(docker.from_env()) as client:
        assert pinned == client.images.get(bare_image).id
        # The name moves on, as names of images do.
        client.images.get("debian:trixie-slim").tag(*bare_image.split(":"))
        try:
            assert builder.execute(bare, "echo hello")["image_id"] == pinned
        finally:
            client.images.get(pinned).tag(*bare_image.split(":"))


def test_image_that_is_nowhere_fails_its_build(builder: Builder, bare: str) -> None:
    builder.call("PATCH", f"/runtimes/{bare}", {"image": "localhost:1/no/such:1", "enabled": False})
    build = builder.build(bare, {"kind": "pull"})
    assert (build["state"], "localhost:1/no/such:1" in build["error"]) == ("failed", True)


def test_volumes_of_an_image_are_no_folders_of_the_host(builder: Builder) -> None:
    with closing(docker.from_env()) as client:
        container = client.api.create_container("debian:trixie-slim", "true")
        client.api.commit(container, "sandbox-platform-test/volume", "latest", changes=["VOLUME /data"])
        client.api.remove_container(container)
        body = {
            "slug": "volume", "name": "With a volume", "image": "sandbox-platform-test/volume:latest",
            "source_file": "main.sh", "runner": "shell", "modes": ["script"], "run_command": "/bin/sh {source}",
            "pool_min": 0, "limits": {"tmp_bytes": 2**20},
        }  # fmt: skip
        try:
            assert builder.call("POST", "/runtimes", body).status_code == 201
            execution = builder.execute("volume", "head -c 2000000 /dev/zero > /data/x; wc -c < /data/x")
        finally:
            client.images.remove("sandbox-platform-test/volume:latest", force=True)
    assert int(execution["stdout"]) <= 2**20
