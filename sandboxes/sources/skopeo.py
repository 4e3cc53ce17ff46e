"""The only module that calls `skopeo`, which reads from registries."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from sandboxes.engine import EngineError, ImageMissing
from sandboxes.sources.source import Damaged, SourceUnavailable

# A fetch that took longer than twice images.MAKE_TIMEOUT_S would be taken for one of a dead process.
ASK_S, COPY_S = 30, 900
# What skopeo says, in lower case; the first that is found decides. It has no exit status for each.
MISSING = ("manifest unknown", "name unknown", "not found", "status code 404", "invalid reference format")
REFUSED = ("unauthorized", "authentication required", "denied", "forbidden", "invalid username/password")
NOT_TLS = ("server gave http response to https client",)
UNTRUSTED = ("x509", "certificate")
OTHER_CONTENT = ("digest did not match", "manifest blob unknown")
FULL = ("no space left on device", "disk quota exceeded")


def manifest(reference: str) -> bytes:
    """Return a manifest or an index as the registry has it. Raises ImageMissing, SourceUnavailable, EngineError."""
    return _run(reference, ASK_S, "inspect", ["--raw"], [f"docker://{reference}"])


def copy(reference: str, folder: Path) -> None:
    """Write the manifest and the blobs of an image into an empty folder. Raises as `manifest`."""
    # What is fetched stays as it is: in another format the configuration would have another digest.
    options = ["--preserve-digests", "--quiet"]
    _run(reference, COPY_S, "copy", options, [f"docker://{reference}", f"dir:{folder}"], work=folder.parent)


def _run(
    reference: str, timeout_s: int, act: str, options: list[str], words: list[str], work: Path | None = None
) -> bytes:
    with _access(act) as access:
        command = ["skopeo", f"--command-timeout={timeout_s}s", act, *options, *access, *words]
        environment = dict(os.environ) | ({"TMPDIR": str(work)} if work else {})
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                # skopeo ends itself before.
                timeout=timeout_s + 10,
                check=False,
                env=environment,
            )
        except FileNotFoundError as e:
            raise EngineError(
                "skopeo is missing on this node: SANDBOX_IMAGE_SOURCE=registry needs it (Debian's package skopeo)"
            ) from e
        except subprocess.TimeoutExpired as e:
            raise SourceUnavailable(f"the registry did not give {reference} within {timeout_s} s") from e
    if done.returncode:
        raise error(reference, done.stderr.decode(errors="replace"))
    return done.stdout


@contextmanager
def _access(act: str) -> Iterator[list[str]]:
    """Yield skopeo's options by which it reaches the registry. Secrets are in files, not in the options."""
    side = "src-" if act == "copy" else ""
    options = [f"--{side}tls-verify={str(not settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP).lower()}"]
    if settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE:
        options.append(f"--{side}authfile={settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE}")
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        if authority := settings.SANDBOX_IMAGE_REGISTRY_CA_FILE:
            # Beside those that the system trusts. skopeo takes a folder.
            Path(folder, "ca.crt").symlink_to(Path(authority).absolute())
            options.append(f"--{side}cert-dir={folder}")
        yield options


def error(reference: str, said: str) -> EngineError:
    """Return what to raise for skopeo's error message."""
    lines = said.strip().splitlines()
    reason = _message(lines[-1])[-300:] if lines else "skopeo failed without a word"
    lower = said.lower()
    if any(words in lower for words in FULL):
        return EngineError(f"no disk space is left for {reference}: see SANDBOX_IMAGE_DISK and the image folder")
    if any(words in lower for words in OTHER_CONTENT):
        return Damaged(f"the image {reference} of the registry is damaged: {reason}")
    if any(words in lower for words in NOT_TLS):
        return EngineError(
            f"the registry of {reference} speaks no TLS: set SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP=True if that is meant"
        )
    if any(words in lower for words in REFUSED):
        return SourceUnavailable(
            f"the registry refuses {reference}: SANDBOX_IMAGE_REGISTRY_AUTH_FILE needs an account that may pull"
            f" ({reason})"
        )
    if any(words in lower for words in UNTRUSTED):
        return SourceUnavailable(
            f"the certificate of the registry of {reference} is not trusted: see SANDBOX_IMAGE_REGISTRY_CA_FILE"
            f" ({reason})"
        )
    if any(words in lower for words in MISSING):
        return ImageMissing(f"the registry has no image {reference}")
    return SourceUnavailable(f"the registry does not give {reference} now: {reason}")


def _message(line: str) -> str:
    """Return the message of a line of skopeo's log, which is time="…" level=fatal msg="…"."""
    _, found, message = line.partition('msg="')
    return message.rstrip('"') if found else line
