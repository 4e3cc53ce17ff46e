"""The web behind Caddy, with a certificate of a CA of our own."""

import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import requests

from scripts.setup import images
from tests.live import eventually, free_port
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.needs_docker, pytest.mark.needs_stack]
NETWORK = "198.18.94.240/29"
SECRETS = """
secrets:
  tls_certificate: {{file: {folder}/certificate}}
  tls_key: {{file: {folder}/key}}
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_certificates(folder: Path) -> None:
    """A CA, and a certificate for localhost that it signed."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca", "-days", "2", "-subj", "/CN=CA of a test",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", "-x509", *NEW_KEY, "-keyout", "key", "-out", "certificate", "-days", "2", "-subj", "/CN=localhost",
            "-CA", "ca", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
    for name in ("certificate", "key"):
        (folder / name).chmod(0o444)


class Front:
    def __init__(self, folder: Path) -> None:
        make_certificates(folder)
        (folder / "secrets.yml").write_text(SECRETS.format(folder=folder))
        self.ca = str(folder / "ca")
        self.port, self.plain = free_port(), free_port()
        self.stack = Stack(
            "docker-compose.tls.yml", str(folder / "secrets.yml"),
            SANDBOX_TLS_HOST="localhost", SANDBOX_TLS_BIND="127.0.0.1", SANDBOX_TLS_NETWORK=NETWORK,
            SANDBOX_TLS_PORT=str(self.port), SANDBOX_TLS_HTTP_PORT=str(self.plain),
        )  # fmt: skip

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def is_up(self) -> bool:
        try:
            return requests.get(self.url("/healthz"), verify=self.ca, timeout=30).status_code == 200
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    images.build_all([images.tls_image()])
    front = Front(tmp_path_factory.mktemp("tls"))
    try:
        done = front.stack.compose("up", "--detach", "--no-build", "tls")
        assert done.returncode == 0, done.stderr
        try:
            eventually(front.is_up, "the web answers over TLS", 120)
        except AssertionError as error:
            raise AssertionError(front.stack.compose("logs", "--no-color", "tls", "web").stdout) from error
        yield front
    finally:
        front.stack.remove()


def test_somebody_who_does_not_trust_the_ca_gets_no_answer(front: Front) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(front.url("/healthz"), timeout=30)


def test_plain_http_leads_to_https(front: Front) -> None:
    answer = requests.get(f"http://localhost:{front.plain}/admin/", allow_redirects=False, timeout=30)
    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://localhost")


def test_old_versions_of_tls_are_refused(front: Front) -> None:
    command = ["openssl", "s_client", "-connect", f"localhost:{front.port}", "-tls1_1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_cookies_are_for_https_only_and_browsers_stay_there(front: Front) -> None:
    answer = requests.get(front.url("/admin/login/"), verify=front.ca, timeout=30)
    assert answer.status_code == 200
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    assert all(cookie.secure for cookie in answer.cookies)


def test_the_address_of_a_caller_is_what_caddy_saw(front: Front) -> None:
    """A login that fails, from somebody who claims another address."""
    browser = requests.Session()
    browser.headers.update({"X-Forwarded-For": "203.0.113.9", "Referer": front.url("/admin/login/")})
    page = browser.get(front.url("/admin/login/"), verify=front.ca, timeout=30)
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    data = {**hidden, "username": "admin", "login": "admin", "password": "no"}
    answer = browser.post(page.url, data=data, verify=front.ca, timeout=30)
    assert answer.status_code == 200
    query = ("exec", "-T", "postgres", "psql", "-h", "/tmp", "-U", "postgres", "-At", "sandbox", "-c")
    found = front.stack.compose(*query, "SELECT ip_address FROM axes_accessattempt").stdout.split()
    assert len(found) == 1
    assert found != ["203.0.113.9"]
    assert ip_address(found[0]) not in ip_network(NETWORK)


def test_tokens_and_searches_are_not_in_the_log(front: Front) -> None:
    headers = {"Authorization": "Bearer a-token-that-nobody-logs"}
    requests.get(
        front.url("/api/v1/executions?q=a-search-that-nobody-logs"), headers=headers, verify=front.ca, timeout=30
    )
    logs = front.stack.compose("logs", "--no-color", "tls").stdout
    assert "/api/v1/executions" in logs
    assert "nobody-logs" not in logs
