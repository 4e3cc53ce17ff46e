from clients.models.client import Client, Role
from clients.models.token import Token, hash_token
from clients.models.usage import ClientUsage

__all__ = ["Client", "ClientUsage", "Role", "Token", "hash_token"]
