import pytest

from scripts.setup import direct
from scripts.setup.host import SetupError


def test_present_tools_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "on_path", lambda name: [f"/usr/bin/{name}"])
    monkeypatch.setattr(direct.apt, "install", lambda packages: pytest.fail(f"installed {packages}"))
    direct.ensure_tools()


def test_missing_tools_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(direct, "on_path", lambda name: [])
    monkeypatch.setattr(direct.apt, "install", installed.extend)
    direct.ensure_tools()
    assert installed == ["erofs-utils"]


def test_a_machine_without_the_package_is_set_up_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(packages: list[str]) -> None:
        raise SetupError("apt-get install", "no such package", "add a source")

    monkeypatch.setattr(direct, "on_path", lambda name: [])
    monkeypatch.setattr(direct.apt, "install", fail)
    direct.ensure_tools()
    assert "Docker engine" in capsys.readouterr().out
