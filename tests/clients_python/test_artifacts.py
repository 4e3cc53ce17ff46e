"""Where artifacts are saved, and how much of them is shown."""

from pathlib import Path

import pytest
from sandbox_client import Artifact, Artifacts, InvalidArgument
from sandbox_client.programs import files_of


def artifact(name: str, content: bytes = b"theirs") -> Artifact:
    return Artifact(name, len(content), "text/plain", content)


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    mine = tmp_path / "conftest.py"
    mine.write_text("mine")
    for it in (artifact("conftest.py"), Artifacts([artifact("a"), artifact("conftest.py")])):
        with pytest.raises(FileExistsError):
            it.save(tmp_path)
    assert (mine.read_text(), list(tmp_path.iterdir())) == ("mine", [mine])
    artifact("conftest.py").save(tmp_path, overwrite=True)
    assert mine.read_text() == "theirs"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_is_not_followed(overwrite: bool, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, target in (("a", elsewhere), ("b", tmp_path / "missing")):
        (folder / name).symlink_to(target)
        if overwrite:
            artifact(name).save(folder, overwrite=True)
        else:
            with pytest.raises(FileExistsError):
                Artifacts([artifact(name)]).save(folder)
    assert elsewhere.read_text() == "mine"
    assert not (tmp_path / "missing").exists()


def test_two_of_one_name_are_told_before_one_is_written(tmp_path: Path) -> None:
    found = Artifacts([artifact("x\\a.csv"), artifact("a.csv")])
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="the same file"):
            found.save(tmp_path, overwrite=overwrite)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["x" * 1_000_000, "," * 1_000_000, ("a" * 9_999 + ",") * 100, "a,b\n" * 100_000])
def test_a_table_is_shown_up_to_a_bound(text: str) -> None:
    shown = Artifact("t.csv", len(text), "text/csv", text.encode())._repr_html_() or ""
    assert len(shown) < 40_000
    assert "…" in shown


def test_local_files_that_would_be_the_same_are_refused(tmp_path: Path) -> None:
    for folder, content in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(content)
    a, b, c = (tmp_path / folder / "x.csv" for folder in "abc")
    with pytest.raises(InvalidArgument, match=r"x\.csv"):
        files_of([a, b])
    assert files_of([a, c]) == {"x.csv": b"1"}
