import pytest

from bench.chaos.parts import part_of


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("containerd --config /tmp/docker-x/exec/containerd/containerd.toml", "containerd"),
        ("/usr/bin/containerd --config x", "containerd"),
        ("/usr/bin/containerd-shim-runc-v2 -namespace moby -id 8772ea", ""),
        ("runsc-sandbox --root=/tmp/docker-x/exec/runtime-runsc/moby boot 8772ea", "sandboxes"),
        ("/usr/local/lib/sandbox-platform/gvisor/v0/runsc --root=x gofer", "sandboxes"),
        ("/usr/sbin/dockerd --config-file=/tmp/docker-x/daemon.json", ""),
    ],
)
def test_process_of_docker_belongs_to_the_part_that_its_program_is(line: str, part: str) -> None:
    assert part_of(line) == part
