import pytest

from tests.sandboxes.guest import engine

__all__ = ["engine"]

LANGUAGES = ["python", "nodejs"]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)
