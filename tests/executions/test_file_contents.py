import pytest

from executions import files
from sandbox_platform.kit.errors import InvalidField


def test_content_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        files.contents([{"path": "a", "content": "x\ud800"}])
    assert refused.value.field == "files[0].content"
    assert files.contents([{"path": "ü", "content": "é"}]) == {"ü": "é".encode()}
