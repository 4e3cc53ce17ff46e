from django.test import Client

from sandbox_platform.redoc import LOGO


def test_script_of_redoc_names_no_logo_of_its_maker(client: Client) -> None:
    answer = client.get("/redoc/redoc.js")
    assert answer["Content-Type"] == "text/javascript"
    assert b"redoc" in answer.content
    assert LOGO not in answer.content


def test_page_of_redoc_takes_that_script(client: Client) -> None:
    assert '<script src="/redoc/redoc.js">' in client.get("/redoc").content.decode()
