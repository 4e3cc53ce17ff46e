import pytest

from executions import files
from sandbox_platform.kit.errors import InvalidField


@pytest.mark.parametrize("path", ["a\ud800.txt", "a\x1b[31m", "a\u202eb", "a\\b", "\0"])
def test_path_that_cannot_be_encoded_or_shown_is_refused(path: str) -> None:
    with pytest.raises(InvalidField, match="not printable") as refused:
        files.checked_path(path, "files")
    refused.value.detail.encode()


def test_content_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        files.contents([{"path": "a", "content": "x\ud800"}])
    assert refused.value.field == "files[0].content"
    assert files.contents([{"path": "ü", "content": "é"}]) == {"ü": "é".encode()}
