"""The reference is that of the code."""

from scripts import client_reference


def test_the_reference_is_up_to_date() -> None:
    assert client_reference.PAGE.read_text() == client_reference.page(), "make client-reference"
