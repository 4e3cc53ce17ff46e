"""Settings of where a node's images come from, and what makes them. In the stack it is Docker.

docs/architecture.md has the other sources, docs/builds.md the other builder.
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from sandbox_platform.kit.env import envbool, envchoice

# docker, or without Docker on the node: registry, archive. Only the direct engine does without Docker.
SANDBOX_IMAGE_SOURCE = envchoice("SANDBOX_IMAGE_SOURCE", "docker", ("docker", "registry", "archive"))
# host[:port]/prefix for images without a registry in their name: sandbox-platform/runtime-python:latest is then
# PREFIX/runtime-python:latest.
SANDBOX_IMAGE_REGISTRY = os.environ.get("SANDBOX_IMAGE_REGISTRY") or ""
# Docker's config.json with `auths`, as a pull secret of Kubernetes has it, and the registry's CA beside the system's.
SANDBOX_IMAGE_REGISTRY_AUTH_FILE = os.environ.get("SANDBOX_IMAGE_REGISTRY_AUTH_FILE") or ""
SANDBOX_IMAGE_REGISTRY_CA_FILE = os.environ.get("SANDBOX_IMAGE_REGISTRY_CA_FILE") or ""
SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = envbool("SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP", False)
# A folder with an OCI archive for each image: runtime-python.tar.
SANDBOX_IMAGE_ARCHIVES = Path(os.environ.get("SANDBOX_IMAGE_ARCHIVES") or "/var/lib/sandbox-platform/archives")
# What makes images for runtimes: docker (a worker, with the node's Docker) or buildah (`manage.py builder`, which
# pushes to the registry).
SANDBOX_BUILDER = envchoice("SANDBOX_BUILDER", "docker", ("docker", "buildah"))
# Where buildah unpacks images. Empty between two builds.
SANDBOX_BUILD_DIR = Path(os.environ.get("SANDBOX_BUILD_DIR") or "/var/lib/sandbox-platform/builds")
# How: overlay, or vfs, which copies each image that it uses, where no overlay can be mounted.
SANDBOX_BUILD_STORAGE = envchoice("SANDBOX_BUILD_STORAGE", "overlay", ("overlay", "vfs"))

if SANDBOX_IMAGE_SOURCE != "docker" and (os.environ.get("SANDBOX_ENGINE") or "direct") != "direct":
    raise ImproperlyConfigured(
        f"SANDBOX_IMAGE_SOURCE={SANDBOX_IMAGE_SOURCE} is for nodes without Docker: leave SANDBOX_ENGINE empty, or set"
        " it to direct"
    )
if SANDBOX_IMAGE_SOURCE == "registry" and not SANDBOX_IMAGE_REGISTRY:
    raise ImproperlyConfigured(
        "SANDBOX_IMAGE_REGISTRY is empty: name the registry of the images, host[:port]/prefix"
    )
