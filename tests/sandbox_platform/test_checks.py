import pytest
from django.core.checks import run_checks

LONGEST = 3600


def ids(**options) -> set[str]:
    return {m.id for m in run_checks(**options) if str(m.id).startswith("sandbox_platform.")}


@pytest.fixture(autouse=True)
def sound(settings) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = False
    settings.RAGFLOW_TOKEN = "x" * 32
    settings.LONGEST_RUN_S = LONGEST


def test_sound_settings_pass() -> None:
    assert ids() == set()


def test_open_endpoint_is_a_warning(settings) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    assert ids() == {"sandbox_platform.W001"}


def test_short_token_is_a_warning(settings) -> None:
    settings.RAGFLOW_TOKEN = "short"
    assert ids() == {"sandbox_platform.W002"}


def test_two_ways_of_tls_are_an_error(settings) -> None:
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = True
    assert ids() == {"sandbox_platform.E016"}


@pytest.mark.parametrize("url", ["sandbox.example.com", "ftp://sandbox.example.com", "https://a.example.com/?x=1"])
def test_console_url_that_is_no_address_is_an_error(settings, url: str) -> None:
    settings.SANDBOX_CONSOLE_URL = url
    assert ids() == {"sandbox_platform.E017"}


def test_debug_is_a_warning_on_deploy(settings) -> None:
    settings.DEBUG = True
    assert "sandbox_platform.W003" in ids(include_deployment_checks=True)
    assert ids() == set()


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"timeout": LONGEST}, "E001"),
        ({"retry": LONGEST + 120}, "E002"),
        ({"max_attempts": 2}, "E003"),
        ({"ack_failures": False}, "E004"),
    ],
)
def test_queue_that_would_run_twice_is_an_error(settings, change: dict[str, object], number: str) -> None:
    settings.Q_CLUSTER = settings.Q_CLUSTER | change
    assert ids() == {f"sandbox_platform.{number}"}


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("SEED_TIMEOUT_MS", LONGEST * 1000 + 1, "E005"),
        ("SEED_MEMORY_BYTES", 64 * 1024**2 - 1, "E006"),
        ("SANDBOX_NODE", "n" * 101, "E007"),
        ("SANDBOX_BUILD_TIMEOUT_MS", LONGEST * 1000 + 1, "E015"),
    ],
)
def test_impossible_seed_is_an_error(settings, name: str, value: object, number: str) -> None:
    setattr(settings, name, value)
    assert ids() == {f"sandbox_platform.{number}"}


def test_bad_manifest_is_an_error(settings, tmp_path) -> None:
    settings.BASE_DIR = tmp_path
    path = tmp_path / "images" / "x" / "runtime.toml"
    path.parent.mkdir(parents=True)
    path.write_text("slug = 1")
    assert ids() == {"sandbox_platform.E008"}


@pytest.mark.parametrize("options", [{}, {"sslmode": "require"}, {"sslmode": "verify-full"}])
def test_a_joined_host_without_a_verified_connection_is_an_error(
    settings, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    settings.SANDBOX_JOINED = True
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", options)
    assert ids() == {"sandbox_platform.E018"}


def test_in_kubernetes_the_values_decide_how_the_database_is_reached(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_JOINED = True
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert ids() == set()


def test_a_joined_host_with_a_verified_connection_passes(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SANDBOX_JOINED = True
    trust = {"sslmode": "verify-full", "sslrootcert": "/run/secrets/database_ca"}
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", trust)
    assert ids() == set()
