"""Settings of how people log in: local accounts, second factors, and an OpenID provider. See docs/sign-on.md."""

import os
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from sandbox_platform.kit.env import envbool, envchoice, envduration, envlist, envsecret

# Password and passkey of accounts of this installation. Off, only the provider and a recovery link open a session.
SANDBOX_LOCAL_LOGIN = envbool("SANDBOX_LOCAL_LOGIN", True)
# Who must have a second factor to work after a login with a password: whoever may change users, everybody, or nobody.
SANDBOX_SECOND_FACTOR = envchoice("SANDBOX_SECOND_FACTOR", "optional", ("optional", "administrators", "everyone"))

# --- OpenID Connect: without an issuer there is no provider -----------------------------------------------


def _address(name: str) -> str:
    address = (os.environ.get(name) or "").strip()
    parts = urlsplit(address)
    if address and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username):
        raise ImproperlyConfigured(
            f"{name}: {address!r} is no address of a provider: write https://login.example.com"
        )
    return address


def _roles(name: str) -> dict[str, str]:
    """Return role by group, of text such as ``sandbox-admins=administrator,audit=auditor``."""
    roles = {}
    for pair in envlist(name):
        group, sign, role = (part.strip() for part in pair.rpartition("="))
        if not (group and sign and role):
            raise ImproperlyConfigured(f"{name}: {pair!r} is no mapping: write group=role,group=role")
        roles[group] = role
    return roles


SANDBOX_OIDC_ISSUER = _address("SANDBOX_OIDC_ISSUER")
SANDBOX_OIDC_NAME = os.environ.get("SANDBOX_OIDC_NAME") or "single sign-on"
SANDBOX_OIDC_CLIENT_ID = os.environ.get("SANDBOX_OIDC_CLIENT_ID") or ""
SANDBOX_OIDC_CLIENT_SECRET = envsecret("SANDBOX_OIDC_CLIENT_SECRET")
SANDBOX_OIDC_SCOPES = " ".join(["openid", *envlist("SANDBOX_OIDC_SCOPES", "profile,email")])
# The claim with the person's groups; dots lead into objects, as in realm_access.roles.
SANDBOX_OIDC_GROUPS_CLAIM = os.environ.get("SANDBOX_OIDC_GROUPS_CLAIM") or "groups"
SANDBOX_OIDC_ROLES = _roles("SANDBOX_OIDC_ROLES")
# Whether a first login takes over the local account that has the same, verified e-mail address.
SANDBOX_OIDC_LINK_BY_EMAIL = envbool("SANDBOX_OIDC_LINK_BY_EMAIL", False)
# Longest session of a person of the provider: what changed there is noticed at the next login.
SANDBOX_OIDC_SESSION_S = envduration("SANDBOX_OIDC_SESSION", "8h") // 1000
# Whether a logout here leads on to the provider's own, if it has one.
SANDBOX_OIDC_LOGOUT = envbool("SANDBOX_OIDC_LOGOUT", False)
if SANDBOX_OIDC_ISSUER and not (SANDBOX_OIDC_CLIENT_ID and SANDBOX_OIDC_ROLES):
    raise ImproperlyConfigured(
        "SANDBOX_OIDC_ISSUER needs SANDBOX_OIDC_CLIENT_ID and SANDBOX_OIDC_ROLES (group=role,group=role)"
    )

# --- django-allauth: stages of a login, second factors and sessions ----------------------------------------

SIGN_ON_APPS = ["people", "console.sign_on", "allauth", "allauth.account", "allauth.mfa", "allauth.usersessions"]
ACCOUNT_ADAPTER = "console.sign_on.adapters.AccountAdapter"
# No addresses are kept, and none is verified. Nobody signs up: no such page has an address.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# Of passwords and codes, django-axes keeps count, for all processes together.
ACCOUNT_RATE_LIMITS = {"login": False, "login_failed": False, "reauthenticate": False}
MFA_ADAPTER = "console.sign_on.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Sandbox Platform"
# Clocks of phones differ by less than a minute; a code is accepted once.
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": "console.sign_on.forms.LoginCodeForm",
    "reauthenticate": "console.sign_on.forms.ConfirmationCodeForm",
}
