from clients.models.client import Client, Role
from clients.models.storage import ClientStorage, StorageChange
from clients.models.token import Token, hash_token
from clients.models.usage import ClientUsage

__all__ = ["Client", "ClientStorage", "ClientUsage", "Role", "StorageChange", "Token", "hash_token"]
