"""The certificate of the published Postgres, and the authority of this installation that signs it.

Joined hosts trust this authority and no other. Its key stays on the first host; without it a new certificate needs a
new invitation for every host.
"""

from __future__ import annotations

import ipaddress
import secrets
import ssl
import tempfile
from pathlib import Path

from scripts.setup import apt
from scripts.setup.docker import on_path
from scripts.setup.host import SetupError, must, run
from scripts.setup.secret_files import FOLDER

CA, CA_KEY = "database_ca", "database_ca_key"
CERTIFICATE, KEY = "database_tls_certificate", "database_tls_key"
CA_DAYS, DAYS = 3650, 825
# A certificate that ends sooner is replaced at the next start.
RENEW_S = 90 * 86400
# Nothing has been started for a month that would have renewed it.
WARN_S = 60 * 86400
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


def ensure(address: str, folder: Path = FOLDER) -> list[str]:
    """Make what is missing, ends soon or names another address; return its names.

    `address`: a name or an IP address. Raises SetupError for half an authority: with another one, no joined host would
    trust this database any more.
    """
    if not on_path("openssl"):
        apt.install(["openssl"])
    folder.mkdir(mode=0o700, exist_ok=True)
    made = []
    if not is_whole(folder):
        _make_authority(folder)
        made.append("authority")
    if made or not _is_good(folder, address):
        _make_certificate(folder, address)
        made.append("certificate")
    return made


def is_whole(folder: Path = FOLDER) -> bool:
    """Return whether the authority is there. Raises SetupError for half of one, or halves of two."""
    there = [name for name in (CA, CA_KEY) if (folder / name).is_file()]
    if len(there) == 1:
        (missing,) = {CA, CA_KEY} - {*there}
        cause = f"{there[0]} is there, {missing} is not"
    elif there and not _belong(folder / CA, folder / CA_KEY):
        cause = f"{CA_KEY} is not the key of {CA}"
    else:
        return bool(there)
    raise SetupError(
        f"the authority of the database in {folder.name}",
        cause,
        f"bring both files back from a backup (make restore does); or delete {' and '.join(there)}: a new authority is "
        "made, and every joined host needs a new invitation",
    )


def _belong(certificate: Path, key: Path) -> bool:
    """Return whether they have the same public key. They have not where somebody was cut off between writing both."""
    of_key = run(["openssl", "pkey", "-pubout", "-in", key]).stdout
    return bool(of_key) and run(["openssl", "x509", "-noout", "-pubkey", "-in", certificate]).stdout == of_key


def _is_good(folder: Path, address: str) -> bool:
    if not (folder / CERTIFICATE).is_file() or not (folder / KEY).is_file():
        return False
    if not _belong(folder / CERTIFICATE, folder / KEY):
        return False
    about = ("openssl", "x509", "-noout", "-in", folder / CERTIFICATE)
    check = "-checkip" if _is_ip(address) else "-checkhost"
    return (
        run([*about, "-checkend", str(RENEW_S)]).returncode == 0
        and "does match" in run([*about, check, address]).stdout
        and run(["openssl", "verify", "-CAfile", folder / CA, folder / CERTIFICATE]).returncode == 0
    )


def is_served(served: bytes, folder: Path = FOLDER) -> bool:
    """Return whether this certificate (DER) is the folder's."""
    return served == ssl.PEM_cert_to_DER_cert((folder / CERTIFICATE).read_text(encoding="ascii"))


def complaint(served: bytes, folder: Path = FOLDER) -> str:
    """Return what is wrong with the certificate that Postgres shows (DER, b"" for none), or ""."""
    if not (folder / CERTIFICATE).is_file():
        return "there is none"
    if not served:
        return "Postgres shows none"
    if not is_served(served, folder):
        return "Postgres shows another one than that in .secrets"
    done = run(
        ["openssl", "x509", "-noout", "-in", folder / CERTIFICATE, "-enddate", "-checkend", str(WARN_S)],
    )
    return "" if done.returncode == 0 else f"it ends soon ({done.stdout.split(chr(10))[0]})"


def _make_authority(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        _openssl(
            "req", "-x509", *NEW_KEY, "-days", str(CA_DAYS), "-subj", "/CN=Sandbox Platform database",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", str(draft / "key"), "-out", str(draft / "certificate"),
        )  # fmt: skip
        _keep(draft / "key", folder / CA_KEY, 0o600)
        _keep(draft / "certificate", folder / CA, 0o444)


def _make_certificate(folder: Path, address: str) -> None:
    kind = "IP" if _is_ip(address) else "DNS"
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        (draft / "extensions").write_text(
            f"subjectAltName={kind}:{address}\nbasicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
            encoding="ascii",
        )
        _openssl(
            "req", "-new", *NEW_KEY, "-subj", "/CN=Postgres of Sandbox Platform",
            "-keyout", str(draft / "key"), "-out", str(draft / "request"),
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", str(draft / "request"), "-CA", str(folder / CA), "-CAkey", str(folder / CA_KEY),
            "-set_serial", f"0x{secrets.token_hex(16)}", "-days", str(DAYS), "-extfile", str(draft / "extensions"),
            "-out", str(draft / "certificate"),
        )  # fmt: skip
        # The container's user must be able to read both; only the folder's owner gets at them.
        _keep(draft / "key", folder / KEY, 0o444)
        _keep(draft / "certificate", folder / CERTIFICATE, 0o444)


def _keep(draft: Path, path: Path, mode: int) -> None:
    draft.chmod(mode)
    draft.replace(path)


def _openssl(*words: str) -> None:
    must(["openssl", *words], check=f"openssl {words[0]}", fix="see .setup/setup.log")


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
