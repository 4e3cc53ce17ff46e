from collections.abc import Iterator

import pytest
from pytest_django import Settings

from console import roles
from tests.console.sign_on import openid
from tests.console.sign_on.openid import Provider


@pytest.fixture(scope="session")
def process() -> Iterator[Provider]:
    with openid.running() as provider:
        yield provider


@pytest.fixture
def provider(process: Provider, settings: Settings, db: None) -> Provider:
    settings.SANDBOX_OIDC_ISSUER = process.issuer
    settings.SANDBOX_OIDC_CLIENT_ID = "sandbox"
    settings.SANDBOX_OIDC_CLIENT_SECRET = "the client's secret"
    settings.SANDBOX_OIDC_NAME = "Example login"
    settings.SANDBOX_OIDC_ROLES = {"ops": "operator", "admins": "administrator", "watch": "auditor"}
    roles.ensure()
    process.knows("ann-1", preferred_username="ann", email="ann@example.com", email_verified=True, groups=["ops"])
    return process
