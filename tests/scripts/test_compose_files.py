"""What the Compose files give to which service."""

import re
from typing import Any

import pytest
import yaml

from tests.live import ROOT

KEY_FOLDER = "/var/lib/sandbox-platform/seal"
HEADS_FOLDER = "/var/lib/sandbox-platform/heads"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert isinstance(loaded, dict)
    return loaded


def mounts(service: dict[str, Any], folder: str) -> list[str]:
    return [mount for mount in service.get("volumes", []) if f":{folder}" in mount]


def test_only_the_keeper_has_the_key_of_the_seals(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, service in services.items() if mounts(service, KEY_FOLDER)] == ["keeper"]
    named = [name for name, each in services.items() if "SANDBOX_SEAL_KEY_FILE" in each.get("environment", {})]
    assert named == ["keeper"]


def test_only_the_keeper_writes_the_heads(services: dict[str, dict[str, Any]]) -> None:
    found = {name: mounts(service, HEADS_FOLDER) for name, service in services.items()}
    assert {name: mount.endswith(":ro") for name, many in found.items() for mount in many} == {
        "worker": True,
        "keeper": False,
    }


@pytest.mark.parametrize("folder", [KEY_FOLDER, HEADS_FOLDER])
def test_the_image_has_the_folder_whose_owner_a_new_volume_gets(folder: str) -> None:
    assert (
        f"install -d -o platform -m 07{'00' if folder == KEY_FOLDER else '55'} {folder}"
        in (ROOT / "Dockerfile").read_text()
    )


SERVICES = ("web", "worker", "keeper", "callbacks", "egress")


def secrets(service: dict[str, Any]) -> dict[str, str]:
    """The service's secrets by the name that it sees."""
    named = [{"source": each} if isinstance(each, str) else each for each in service.get("secrets", [])]
    return {each.get("target", each["source"]): each["source"] for each in named}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_own_password_of_the_database_only(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    assert services[name]["environment"]["SANDBOX_SERVICE"] == name
    found = {source for source in secrets(services[name]).values() if source.startswith("database_")}
    assert found == {"database_url", f"database_{name}"}
    assert secrets(services[name])["database_password"] == f"database_{name}"


def test_only_migrations_and_postgres_have_the_owner_s_password(services: dict[str, dict[str, Any]]) -> None:
    holders = {name for name, each in services.items() if "database_owner" in secrets(each).values()}
    assert holders == {"migrate", "postgres"}
    assert "SANDBOX_SERVICE" not in services["migrate"]["environment"]


@pytest.mark.parametrize(
    ("secret", "holders"),
    [
        ("django_secret_key", {"web"}),
        ("callback_key", {"web", "callbacks", "migrate"}),
        ("admin_password", {"migrate"}),
        ("api_token", {"migrate"}),
        ("email_password", {"callbacks"}),
    ],
)
def test_a_secret_is_mounted_where_it_is_needed(
    services: dict[str, dict[str, Any]], secret: str, holders: set[str]
) -> None:
    assert {name for name, each in services.items() if secret in secrets(each).values()} == holders


def test_no_secret_is_in_an_environment(services: dict[str, dict[str, Any]]) -> None:
    hidden = re.compile("(PASSWORD|SECRET_KEY|CALLBACK_KEY|API_TOKEN|DATABASE_URL)$")
    shown = {
        name: [key for key in each.get("environment", {}) if hidden.search(key)] for name, each in services.items()
    }
    assert {name: keys for name, keys in shown.items() if keys} == {}


def test_only_the_gateway_and_its_proxy_share_their_secret(services: dict[str, dict[str, Any]]) -> None:
    holders = [name for name, service in services.items() if "egress" in secrets(service).values()]
    assert holders == ["egress", "proxy"]


def test_the_gateway_listens_only_where_the_proxy_is(services: dict[str, dict[str, Any]]) -> None:
    gateway = services["egress"]
    name, _, port = gateway["environment"]["SANDBOX_EGRESS_LISTEN"].rpartition(":")
    named_on = [network for network, options in gateway["networks"].items() if name in options.get("aliases", [])]
    assert named_on == ["doors"]
    assert [each for each, service in services.items() if "doors" in service.get("networks", ())] == [
        "egress",
        "proxy",
    ]
    assert services["proxy"]["environment"]["SANDBOX_EGRESS_GATEWAY"] == f"{name}:{port}"
