import re
from urllib.parse import urljoin

from django.test import Client

from sandbox_platform.redoc import LOGO

SCRIPT = "/redoc/bundles/redoc.standalone.js"


def test_script_of_redoc_names_no_logo_of_its_maker(client: Client) -> None:
    answer = client.get(SCRIPT)
    assert answer["Content-Type"] == "text/javascript"
    assert b"redoc" in answer.content
    assert LOGO not in answer.content


def test_page_of_redoc_takes_that_script(client: Client) -> None:
    (address,) = re.findall(r'<script src="([^"]*)"', client.get("/redoc").content.decode())
    assert urljoin("/redoc", address) == SCRIPT


def test_page_of_redoc_names_no_other_host(client: Client) -> None:
    assert "//" not in client.get("/redoc").content.decode()
