from pathlib import Path

from scripts.setup.images import fingerprint, ignored_except


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


def test_bytecode_does_not_ask_for_a_build(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    before = fingerprint([tmp_path], "", tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("y")
    assert fingerprint([tmp_path], "", tmp_path) == before


def test_a_folder_that_does_not_exist_yet_is_no_error(tmp_path: Path) -> None:
    assert fingerprint([tmp_path / "runner"], "", tmp_path) == fingerprint([], "", tmp_path)
