"""Where images are: the names that buildah is given, and its options for the registry."""

from pathlib import Path

from django.conf import settings

from sandboxes.sources.references import reference


def located(image: str) -> str:
    """Return the full name of an image, by which nodes find it, too. Raises ImageMissing."""
    return reference(image, settings.SANDBOX_IMAGE_REGISTRY)


def options(name: str, certificates: Path) -> list[str]:
    """Return buildah's options for an image. What is set for the platform's registry is not used for any other.

    `certificates`: a folder for the registry's authority, as buildah takes it.
    """
    auth = settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE
    found = ["--authfile", auth] if auth else []
    if name.partition("/")[0] != settings.SANDBOX_IMAGE_REGISTRY.partition("/")[0]:
        return found
    if settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP:
        found.append("--tls-verify=false")
    if settings.SANDBOX_IMAGE_REGISTRY_CA_FILE:
        certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
        (certificates / "ca.crt").write_bytes(Path(settings.SANDBOX_IMAGE_REGISTRY_CA_FILE).read_bytes())
        found.append(f"--cert-dir={certificates}")
    return found
