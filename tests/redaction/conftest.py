from collections.abc import Iterator

import pytest

from redaction import services as redaction


@pytest.fixture(autouse=True)
def rules_are_read_anew() -> Iterator[None]:
    redaction.cache.forget()
    yield
    redaction.cache.forget()
