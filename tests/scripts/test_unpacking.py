import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.setup import unpacking


def test_programs_are_unpacked_and_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that has programs in usr/bin, and a script that must not run."""
    control, programs = tmp_path / "package/DEBIAN", tmp_path / "package/usr/bin"
    for folder in (control, programs):
        folder.mkdir(parents=True)
    (control / "control").write_text(
        "Package: promtool\nVersion: 1\nArchitecture: all\nMaintainer: us <us@example.com>\nDescription: test\n"
    )
    (control / "postinst").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (control / "postinst").chmod(0o755)
    for name in ("promtool", "other"):
        (programs / name).write_text("#!/bin/sh\n")
    archive = tmp_path / "promtool.deb"
    subprocess.run(["dpkg-deb", "--build", tmp_path / "package", archive], check=True, capture_output=True)
    real = unpacking.must

    def must(command: list[Any], **options: Any) -> str:
        if command[0] == "apt-get":  # a mirror cannot be counted on here
            command = ["cp", archive, options["cwd"]]
        return real(command, **options)

    monkeypatch.setattr(unpacking, "must", must)
    monkeypatch.setattr(unpacking.apt, "update", lambda: None)
    unpacking.unpack("promtool", tmp_path / "tools", ("promtool",))
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["promtool"]
    assert not (tmp_path / "ran").exists()
