"""Tell before anything is built whether this machine reaches the first host's Postgres, and whether it is that one."""

from __future__ import annotations

import socket
import ssl
import struct

from scripts.setup.host import SetupError
from scripts.setup.hosts.invitation import Invitation

# What a client of Postgres sends first to ask for TLS: length and code (protocol, SSLRequest).
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
PATIENCE_S = 10


def served(address: str, port: int) -> bytes:
    """Return the certificate (DER) that Postgres shows there, whoever signed it, or b"" if it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), PATIENCE_S) as plain:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                return b""
            with context.wrap_socket(plain) as secured:
                return secured.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def check(invitation: Invitation) -> None:
    """Raises SetupError if Postgres does not answer, speaks no TLS, or shows another certificate."""
    there = f"Postgres of {invitation.invited_by} at {invitation.address}, port {invitation.port}"
    context = ssl.create_default_context(cadata=invitation.ca)
    try:
        with socket.create_connection((invitation.address, invitation.port), PATIENCE_S) as plain:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise SetupError(
                    there,
                    "it speaks no TLS",
                    "on the first host: docker-compose.hosts.yml in COMPOSE_FILE, make restart",
                )
            with context.wrap_socket(plain, server_hostname=invitation.address):
                return
    except ssl.SSLError as error:
        raise SetupError(
            there,
            f"its certificate is not the one that this invitation names: {error}",
            "make invite on the first host again; if that does not help, somebody else answers at this address",
        ) from error
    except OSError as error:
        raise SetupError(
            there,
            f"not reachable: {error}",
            "open the port for this machine in the first host's firewall, and see docs/hosts.md",
        ) from error
