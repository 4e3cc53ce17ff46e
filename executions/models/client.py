import hashlib
import secrets
from typing import Any

from django.db import models


def hash_token(token: str) -> str:
    # Tokens are 256 random bits, so a plain hash cannot be guessed back; a slow one would cost every call.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class ClientManager(models.Manager["Client"]):
    def create_with_token(self, name: str, token: str = "", **fields: Any) -> tuple["Client", str]:
        """A new client and its token in clear, which is kept nowhere."""
        client = self.model(name=name, **fields)
        token = client.set_token(token)
        client.save(force_insert=True)
        return client, token


class Client(models.Model):
    """A caller of the API, known by its token."""

    name = models.CharField(max_length=100, unique=True, help_text="Who calls, e.g. the RAGFlow deployment.")
    token_sha256 = models.CharField("token's SHA-256", max_length=64, unique=True, editable=False)
    enabled = models.BooleanField(default=True, help_text="When off, its calls are answered with 401.")
    created_at = models.DateTimeField(auto_now_add=True)
    # Its callbacks' secret is computed from this (see callbacks.signing), so that none is stored.
    callback_secret_version = models.PositiveIntegerField(default=1, editable=False)
    callback_secret_rotated_at = models.DateTimeField(null=True, editable=False)

    objects = ClientManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def set_token(self, token: str = "") -> str:
        """The new token in clear, random unless given. The caller saves the row."""
        token = token or secrets.token_urlsafe(32)
        self.token_sha256 = hash_token(token)
        return token

    # Django REST framework asks this of whoever is `request.user`.
    @property
    def is_authenticated(self) -> bool:
        return True
