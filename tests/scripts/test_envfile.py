import stat
from collections.abc import Callable
from pathlib import Path

from scripts.setup import envfile

EXAMPLE = """\
# --- Heading ---
# What A is.
A=one
# What SECRET is.
SECRET=

# Two lines
# about GID.
GID=
EMPTY=
"""
GENERATED: dict[str, Callable[[], str]] = {"SECRET": lambda: "s3cret", "GID": lambda: "999"}


def test_a_new_file_is_the_example_with_generated_values() -> None:
    text, changed = envfile.complete("", EXAMPLE, GENERATED)
    assert envfile.parse(text) == {"A": "one", "SECRET": "s3cret", "GID": "999", "EMPTY": ""}
    assert "# --- Heading ---" in text
    assert "SECRET" in changed


def test_existing_values_are_kept_and_missing_ones_added_with_their_comment() -> None:
    text, changed = envfile.complete("SECRET=mine\nOWN=x\n", EXAMPLE, GENERATED)
    assert envfile.parse(text) == {"SECRET": "mine", "OWN": "x", "A": "one", "GID": "999", "EMPTY": ""}
    assert "# Two lines\n# about GID.\nGID=999" in text
    assert "# Two lines\n# about GID.\nEMPTY" not in text
    assert "SECRET" not in changed


def test_an_empty_secret_is_filled_in_and_an_empty_setting_is_not() -> None:
    text, changed = envfile.complete("A=\nSECRET=\nGID=999\nEMPTY=\n", EXAMPLE, GENERATED)
    assert envfile.parse(text) == {"A": "", "SECRET": "s3cret", "GID": "999", "EMPTY": ""}
    assert changed == ["SECRET"]


def test_a_second_run_changes_nothing() -> None:
    once, _ = envfile.complete("", EXAMPLE, GENERATED)
    assert envfile.complete(once, EXAMPLE, GENERATED) == (once, [])


def test_a_fact_of_the_machine_is_mended() -> None:
    generated = {**envfile.GENERATED, "DOCKER_GID": lambda: "113"}
    text, changed = envfile.complete("DOCKER_GID=999\n", "DOCKER_GID=\n", generated)
    assert (text, changed) == ("DOCKER_GID=113\n", ["DOCKER_GID"])


def test_a_fact_that_cannot_be_read_now_is_kept() -> None:
    generated = {"DOCKER_GID": lambda: ""}
    assert envfile.complete("DOCKER_GID=999\n", "DOCKER_GID=\n", generated) == ("DOCKER_GID=999\n", [])


def test_quotes_and_export_are_understood() -> None:
    assert envfile.parse("export A='x y'\nB=\"z\"\n# C=no\n") == {"A": "x y", "B": "z"}


def test_the_shipped_example_gives_every_secret_a_value() -> None:
    example = envfile.EXAMPLE.read_text(encoding="utf-8")
    values = envfile.parse(envfile.complete("", example, envfile.GENERATED)[0])
    for name in (
        "POSTGRES_PASSWORD",
        "SANDBOX_DATABASE_WEB_PASSWORD",
        "SANDBOX_DATABASE_EGRESS_PASSWORD",
        "DJANGO_SECRET_KEY",
        "ADMIN_PASSWORD",
        "SANDBOX_EXECUTOR_MANAGER_API_TOKEN",
    ):
        assert len(values[name]) >= 20, name
        assert not set(values[name]) & set("$@:/# '\""), name


def test_the_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("old")
    path.chmod(0o644)
    envfile.write_private(path, "A=1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "A=1\n"


def test_the_key_of_before_stays_that_of_callbacks_and_sessions_get_another() -> None:
    before = "A=1\nDJANGO_SECRET_KEY=old\n"
    example = "A=\nDJANGO_SECRET_KEY=\nSANDBOX_CALLBACK_KEY=\n"
    once, _ = envfile.complete(envfile.with_callback_key(before), example, envfile.GENERATED)
    values = envfile.parse(once)
    assert values["SANDBOX_CALLBACK_KEY"] == "old"
    assert values["DJANGO_SECRET_KEY"] not in ("", "old")
    assert envfile.with_callback_key(once) == once


def test_a_new_file_has_two_keys() -> None:
    example = "DJANGO_SECRET_KEY=\nSANDBOX_CALLBACK_KEY=\n"
    values = envfile.parse(envfile.complete(envfile.with_callback_key(""), example, envfile.GENERATED)[0])
    assert values["DJANGO_SECRET_KEY"] != values["SANDBOX_CALLBACK_KEY"]
