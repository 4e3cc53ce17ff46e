import pytest

from sandboxes import images
from tests.sandboxes.answering import keeper_with

pytestmark = pytest.mark.django_db


def test_image_that_no_node_has_is_missing() -> None:
    with keeper_with("other:1"):
        assert images.missing("gone:1") == "No node has the image gone:1, so runs would fail."


def test_image_that_one_node_lacks_is_missing_there() -> None:
    with keeper_with("here:1"), keeper_with(node="test-answering-2"):
        assert images.missing("here:1") == "1 of 2 nodes do not have the image here:1, so runs would fail."


def test_image_that_every_node_has_is_not_missing() -> None:
    with keeper_with("here:1"):
        assert images.missing("here:1") == ""


def test_nothing_is_known_to_be_missing_without_a_keeper() -> None:
    assert images.missing("gone:1") == ""
