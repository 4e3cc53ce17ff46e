import pytest

from tests.images.chosen import chosen
from tests.sandboxes.guest import docker_engine, engine

__all__ = ["docker_engine", "engine"]

# What has no image here is not collected, rather than skipped; with SANDBOX_TEST_RUNTIMES=all everything has one.
FILES = {"typescript": "test_typescript.py"}
collect_ignore = [name for slug, name in FILES.items() if slug not in {m.slug for m in chosen()}]

LANGUAGES = ["python", "nodejs"]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)
