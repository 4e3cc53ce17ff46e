"""What programs in real sandboxes reach through the door, and what they do not."""

import pytest

from tests.executions.egress.conftest import ALLOWED, World, told

pytestmark = pytest.mark.needs_docker
FETCH = {
    "python": """
import json, sys, urllib.error, urllib.request
def status(url):
    try:
        return urllib.request.urlopen(url, timeout=10).status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError as e:
        return type(e).__name__
print(json.dumps([status(url) for url in sys.argv[1:]]))
""",
    "nodejs": """
const status = (url) => fetch(url).then((r) => r.status, (e) => (e.cause || e).code || String(e));
Promise.all(process.argv.slice(2).map(status)).then((all) => console.log(JSON.stringify(all)));
""",
}
LANGUAGES = sorted(FETCH)


@pytest.mark.parametrize("language", LANGUAGES)
def test_allowed_host_is_reached(egress: World, language: str) -> None:
    assert told(egress.call(FETCH[language], language, argv=[f"http://{ALLOWED}/"])) == [200]
