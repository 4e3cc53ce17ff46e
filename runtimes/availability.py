"""Whether the nodes have the image that a change of a runtime would give to runs."""

from runtimes.models import Runtime
from runtimes.sources import missing_image

REMEDY = (
    "Build or pull it on the nodes first, or disable the runtime until a build of the kind pull has fetched the "
    "image."
)


def image_problem(runtime: Runtime) -> str:
    """Return why runs of the unsaved runtime would lack their image; "" for a runtime that is disabled.

    An image that runs get already is not checked: a lost image must not block changes of other fields.
    """
    if not runtime.enabled:
        return ""
    stored = Runtime.objects.filter(pk=runtime.pk, enabled=True).first()
    if stored and stored.live_image == runtime.live_image:
        return ""
    problem = missing_image(runtime.live_image)
    return f"{problem} {REMEDY}" if problem else ""
