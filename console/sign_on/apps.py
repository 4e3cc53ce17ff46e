from django.apps import AppConfig


class SignOnConfig(AppConfig):
    """Pages of the login: codes, passkeys, the OpenID provider, recovery, and a person's own factors and sessions."""

    name = "console.sign_on"
    label = "sign_on"
    verbose_name = "Sign-on"
