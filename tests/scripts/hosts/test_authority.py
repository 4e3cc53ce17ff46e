"""The certificate with which the published Postgres answers."""

import socket
import ssl
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.setup.host import SetupError
from scripts.setup.hosts import authority, reaching

ADDRESS = "127.0.0.1"


def about(folder: Path, *words: str) -> str:
    line = ["openssl", "x509", "-noout", "-in", folder / authority.CERTIFICATE, *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_key_of_the_authority_is_the_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert authority.ensure("192.0.2.7", folder) == ["authority", "certificate"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / authority.CA_KEY).stat().st_mode) == 0o600
    assert set(content(folder)) == {authority.CA, authority.CA_KEY, authority.CERTIFICATE, authority.KEY}


def test_the_certificate_is_of_the_address_and_of_no_other(tmp_path: Path) -> None:
    authority.ensure("192.0.2.7", tmp_path)
    assert "does match" in about(tmp_path, "-checkip", "192.0.2.7")
    assert "does NOT match" in about(tmp_path, "-checkip", "192.0.2.8")
    assert "CA:FALSE" in about(tmp_path, "-ext", "basicConstraints")


def test_what_is_good_stays(tmp_path: Path) -> None:
    authority.ensure("db.example", tmp_path)
    before = content(tmp_path)
    assert authority.ensure("db.example", tmp_path) == []
    assert content(tmp_path) == before


def test_another_address_gets_a_certificate_of_the_same_authority(tmp_path: Path) -> None:
    authority.ensure("192.0.2.7", tmp_path)
    before = content(tmp_path)
    assert authority.ensure("db.example", tmp_path) == ["certificate"]
    assert content(tmp_path)[authority.CA] == before[authority.CA]
    assert "does match" in about(tmp_path, "-checkhost", "db.example")


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    authority.ensure("192.0.2.7", tmp_path)
    (tmp_path / authority.CA).unlink()
    (tmp_path / authority.CA_KEY).unlink()
    assert authority.ensure("192.0.2.7", tmp_path) == ["authority", "certificate"]


@pytest.mark.parametrize("lost", [authority.CA, authority.CA_KEY])
def test_half_an_authority_is_not_replaced(tmp_path: Path, lost: str) -> None:
    authority.ensure("192.0.2.7", tmp_path)
    (tmp_path / lost).unlink()
    before = content(tmp_path)
    with pytest.raises(SetupError, match=f"is there, {lost} is not") as refused:
        authority.ensure("192.0.2.7", tmp_path)
    assert "from a backup" in refused.value.fix and "new invitation" in refused.value.fix
    assert content(tmp_path) == before


def test_key_and_certificate_that_parted_are_noticed(tmp_path: Path) -> None:
    """As after a cut between writing the one and the other."""
    authority.ensure("192.0.2.7", tmp_path)
    authority.ensure("192.0.2.7", other := tmp_path / "other")
    (other / authority.KEY).replace(tmp_path / authority.KEY)
    assert authority.ensure("192.0.2.7", tmp_path) == ["certificate"]
    (other / authority.CA_KEY).replace(tmp_path / authority.CA_KEY)
    with pytest.raises(SetupError, match="is not the key of"):
        authority.ensure("192.0.2.7", tmp_path)


def der(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / authority.CERTIFICATE).read_text())


def test_what_is_wrong_with_the_certificate_that_is_shown_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert authority.complaint(b"", tmp_path) == "there is none"
    authority.ensure(ADDRESS, tmp_path)
    assert authority.complaint(b"", tmp_path) == "Postgres shows none"
    before = der(tmp_path)
    assert authority.complaint(before, tmp_path) == ""
    monkeypatch.setattr(authority, "WARN_S", (authority.DAYS + 1) * 86400)
    assert authority.complaint(before, tmp_path).startswith("it ends soon (notAfter=")
    (tmp_path / authority.CERTIFICATE).unlink()
    authority.ensure(ADDRESS, tmp_path)
    assert authority.complaint(before, tmp_path) == "Postgres shows another one than that in .secrets"


def test_a_server_s_certificate_is_seen_whoever_signed_it(tmp_path: Path) -> None:
    authority.ensure(ADDRESS, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / authority.CERTIFICATE, tmp_path / authority.KEY)

    def answer(says: bytes) -> None:
        plain, _ = server.accept()
        with plain:
            assert plain.recv(8) == reaching.SSL_REQUEST
            plain.sendall(says)
            if says == b"S":
                context.wrap_socket(plain, server_side=True).close()

    with socket.create_server((ADDRESS, 0)) as server, ThreadPoolExecutor(1) as pool:
        for says, wanted in ((b"S", der(tmp_path)), (b"N", b"")):
            served = pool.submit(answer, says)
            assert reaching.served(ADDRESS, server.getsockname()[1]) == wanted
            served.result(10)
        port = server.getsockname()[1]
    assert reaching.served(ADDRESS, port) == b""
