import json

from sandbox_platform.kit.forms import PrettyJSONField


def test_pretty_json_keeps_its_meaning() -> None:
    value = {"list": ["a, b", 'quote " and \\ [', "line\nbreak"], "empty": [], "mixed": ["a", 1], "n": None}
    assert json.loads(PrettyJSONField().prepare_value(value)) == value


def test_pretty_json_puts_a_list_of_names_on_one_line() -> None:
    assert '["mount", "umount"]' in PrettyJSONField().prepare_value({"names": ["mount", "umount"]})


def test_pretty_json_shows_none_as_empty() -> None:
    assert PrettyJSONField().prepare_value(None) == ""
