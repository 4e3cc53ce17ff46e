from typing import Any

from django.db import models, transaction


class ClientManager(models.Manager["Client"]):
    def create_with_token(self, name: str, token: str = "", **fields: Any) -> tuple["Client", str]:
        """A new client and its token in clear, which is kept nowhere."""
        with transaction.atomic():
            client = self.create(name=name, **fields)
            return client, client.tokens.issue(client, token=token)[1]


class Client(models.Model):
    """A caller of the API, known by any of its tokens."""

    name = models.CharField(max_length=100, unique=True, help_text="Who calls, e.g. the RAGFlow deployment.")
    enabled = models.BooleanField(default=True, help_text="When off, its calls are answered with 401.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ClientManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    # Django REST framework asks this of whoever is `request.user`.
    @property
    def is_authenticated(self) -> bool:
        return True
