"""What an error message of skopeo means."""

import pytest

from sandboxes.engine import EngineError, ImageMissing
from sandboxes.sources.skopeo import error
from sandboxes.sources.source import Damaged, SourceUnavailable

REASONS = {
    "manifest unknown: manifest unknown": ImageMissing,
    "name unknown: repository name not known to registry": ImageMissing,
    "Invalid image name: invalid reference format": ImageMissing,
    "dial tcp 10.0.0.1:443: i/o timeout": SourceUnavailable,
    "dial tcp: lookup registry.example: no such host": SourceUnavailable,
    "received unexpected HTTP status: 503 Service Unavailable": SourceUnavailable,
    "toomanyrequests: too many requests": SourceUnavailable,
    "unauthorized: authentication required": SourceUnavailable,
    "denied: requested access to the resource is denied": SourceUnavailable,
    "x509: certificate signed by unknown authority": SourceUnavailable,
    "Digest did not match, expected sha256:1, got sha256:2": Damaged,
    "write /images/fetch.1/image/x: no space left on device": EngineError,
}


@pytest.mark.parametrize(("reason", "kind"), REASONS.items())
def test_kind_of_error(reason: str, kind: type[EngineError]) -> None:
    said = f'time="2026-11-30T00:00:00Z" level=fatal msg="Error reading manifest: {reason}"\n'
    assert type(error("registry.example/a:1", said)) is kind


def test_full_disk_names_the_setting() -> None:
    assert "SANDBOX_IMAGE_DISK" in str(error("a", "no space left on device"))


def test_silent_failure_is_one() -> None:
    assert isinstance(error("a", ""), SourceUnavailable)
