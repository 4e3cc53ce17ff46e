"""Writes to the trail who was shown a secret."""

from contextlib import nullcontext

import pghistory

from audit.models import ShownSecret
from sandbox_platform.kit.disclosures import Disclosure


def record(disclosure: Disclosure) -> None:
    with pghistory.context(**disclosure.context) if disclosure.context else nullcontext():
        ShownSecret.objects.create(name=disclosure.name, object_id=disclosure.object_id)
