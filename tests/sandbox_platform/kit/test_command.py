import pytest

from sandbox_platform.kit.command import application_name


@pytest.mark.parametrize(
    ("argv", "begin"),
    [
        (["/app/manage.py", "shell"], "sandbox-platform manage.py shell by "),
        (
            ["/app/manage.py", "createsuperuser", "--password", "x"],
            "sandbox-platform manage.py createsuperuser by ",
        ),
        (["/opt/venv/bin/gunicorn", "sandbox_platform.wsgi"], "sandbox-platform gunicorn by "),
        ([], "sandbox-platform  by "),
    ],
)
def test_application_name_says_command_and_user(argv: list[str], begin: str) -> None:
    name = application_name(argv)
    assert name.startswith(begin)
    assert len(name) > len(begin)


def test_application_name_fits_into_postgres() -> None:
    assert len(application_name(["x" * 100])) == 63
