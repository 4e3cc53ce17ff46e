"""Request, cancel and activate builds. The API, the admin, the worker and the keeper all use these functions."""

from collections.abc import Mapping

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Max, Q
from django.utils import timezone
from django_q.models import OrmQ

from builds.models import USABLE, BuildKind, BuildState, RuntimeBuild
from runtimes.manifests import plain_packages
from runtimes.models import Runtime
from runtimes.packages import complete
from sandbox_platform.kit import liveness
from sandbox_platform.kit.broker import RUNS
from sandbox_platform.kit.errors import Conflicting
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task, payload_of
from sandboxes import images


def queue_of(builder: str) -> str:
    """Return the queue from which a builder takes builds."""
    return str(settings.BUILD_CLUSTER) if builder == "buildah" else RUNS


BUILD = Task(
    "build",
    "builds.tasks.run_build",
    senders=[Service.WEB, Service.WORKER, Service.KEEPER, Service.BUILDER],
    queue=queue_of(settings.SANDBOX_BUILDER),
)
# Of an image that the builder has pushed: only nodes run what is in images.
PROBE = Task("probe build", "builds.tasks.probe_build", senders=[Service.BUILDER, Service.KEEPER])
ACTIVATE = Task("activate build", "builds.tasks.activate_build", senders=[Service.WEB])

# Of all nodes: one that is gone has no keeper. A build without a session waits for a worker that probes it.
LOST = """
    UPDATE runtimes_runtimebuild b SET state = 'failed', finished_at = now(),
        error = 'The worker that ran the build died. Request the build again.'
    WHERE state IN ('building', 'probing') AND worker_backend IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = b.worker_backend)
    RETURNING id
"""


# Nobody is at work on these.
WAITING = Q(state=BuildState.QUEUED) | Q(state=BuildState.PROBING, worker_backend=None)
AVAILABLE_WITH = (
    "Set SANDBOX_BUILDER=buildah, SANDBOX_IMAGE_SOURCE=registry and SANDBOX_IMAGE_REGISTRY, and run the builder; "
    "see docs/builds.md."
)


def request_build(
    runtime: Runtime, *, kind: BuildKind, packages: Mapping[str, list[str]], by: str
) -> RuntimeBuild:
    """Queue a build and return it.

    Raises Conflicting while another build of the runtime is in progress, and where this installation makes no builds.
    """
    if why := why_unavailable():
        raise Conflicting(why, remedy=AVAILABLE_WITH, code="builds_not_available")
    try:
        with transaction.atomic():
            # The lock keeps the numbers unique.
            Runtime.objects.select_for_update().get(pk=runtime.pk)
            last = RuntimeBuild.objects.filter(runtime=runtime).aggregate(last=Max("number"))["last"] or 0
            build = RuntimeBuild.objects.create(
                runtime=runtime,
                number=last + 1,
                kind=kind,
                packages=complete(packages),
                base=runtime.image,
                requested_by=by[: RuntimeBuild.requested_by.field.max_length],
            )
    except IntegrityError as e:
        raise Conflicting(
            f"Another build of {runtime} is in progress.",
            remedy="Wait until it has ended, or cancel it.",
            code="build_under_way",
        ) from e
    enqueue(build)
    return build


def why_unavailable() -> str:
    """Return why this installation makes no builds, "" if it makes some."""
    if settings.SANDBOX_BUILDER == "docker":
        if settings.SANDBOX_IMAGE_SOURCE == "docker":
            return ""
        return "Builds need a builder: no node has Docker here."
    if settings.SANDBOX_IMAGE_SOURCE == "registry" and settings.SANDBOX_IMAGE_REGISTRY:
        return ""
    return "Builds need a registry: the builder pushes images to it, and the nodes pull them from there."


def builder_is_gone() -> bool:
    """Return whether builds need a builder of its own and none is alive. Where workers make builds, none is needed."""
    return needs_builder() and not liveness.builders_alive()


def needs_builder() -> bool:
    return settings.SANDBOX_BUILDER == "buildah" and not why_unavailable()


def enqueue(build: RuntimeBuild) -> None:
    BUILD.enqueue(build.pk)


def hand_over(build: RuntimeBuild) -> bool:
    """Let a worker probe the image that the builder has pushed. Return False if the row was ended meanwhile."""
    with transaction.atomic():
        building = RuntimeBuild.objects.filter(pk=build.pk, state=BuildState.BUILDING)
        handed = building.update(
            state=BuildState.PROBING, worker_backend=None, progress="waiting for a node that tests the image"
        )
        if handed:
            PROBE.enqueue(build.pk)
    return bool(handed)


def cancel(build: RuntimeBuild) -> bool:
    """Cancel the build; False if it has already ended. A running build stops at its next beat."""
    now = timezone.now()
    rows = RuntimeBuild.objects.filter(pk=build.pk)
    if rows.filter(WAITING).update(state=BuildState.CANCELLED, cancel_requested_at=now, finished_at=now):
        return True
    return bool(rows.working().update(cancel_requested_at=now))


def activate(build: RuntimeBuild) -> None:
    """Activate an earlier build in the background. Raises Conflicting and NobodyAnswers."""
    if build.state == BuildState.LIVE:
        raise Conflicting("The build is already live.", remedy="Nothing to do.", code="build_is_live")
    if build.state not in USABLE or not build.image_id:
        raise Conflicting(
            f"{str(build).capitalize()} is {build.state} and has no image.",
            remedy="Build it again.",
            code="build_unusable",
        )
    if build.base != build.runtime.image:
        raise Conflicting(
            f"The build is based on {build.base}, but the runtime's image is now {build.runtime.image}.",
            remedy="Change the image back, or build again.",
            code="build_of_another_image",
        )
    if problem := availability_problem(build.image_id):
        raise Conflicting(problem, remedy="Build it again.", code="image_gone")
    RuntimeBuild.objects.filter(pk=build.pk).update(progress="activation queued", error="")
    ACTIVATE.enqueue(build.pk)


def deactivate(build: RuntimeBuild) -> None:
    """Run the runtime's image without a build again, from the commit on. Raises Conflicting and NobodyAnswers."""
    if problem := availability_problem(build.runtime.image):
        raise Conflicting(problem, remedy="Build or pull the image, or activate another build.", code="image_gone")
    with transaction.atomic():
        runtime = Runtime.objects.select_for_update().get(pk=build.runtime_id)
        if not RuntimeBuild.objects.filter(pk=build.pk, state=BuildState.LIVE).exists():
            raise Conflicting(
                f"{str(build).capitalize()} is not live.", remedy="Reload the page.", code="build_is_not_live"
            )
        runtime.drop_build()
        runtime.packages = complete(plain_packages(runtime))
        runtime.save()


def availability_problem(image_id: str) -> str:
    """Return why not every node can run the image; "" if every node has it. Raises NobodyAnswers."""
    nodes = liveness.keepers_alive()
    having = images.nodes_with(image_id, nodes)
    if having >= nodes:
        return ""
    return f"{nodes - having} of {nodes} nodes do not have the image {shortened(image_id)}."


def shortened(image: str) -> str:
    """Return a content id with its first digits only, or a reference as it is."""
    return image[:19] if image.startswith("sha256:") else image


def recover_lost() -> None:
    """Mark builds whose worker died as failed, and enqueue the next queued build. Keepers call this periodically.

    A build that waits has no task if the task was lost, or returned because another build was running.
    """
    if not RuntimeBuild.objects.unfinished().exists():
        return
    with connection.cursor() as cursor:
        cursor.execute(LOST)
    for build in RuntimeBuild.objects.filter(WAITING, state=BuildState.PROBING):
        if not is_queued(PROBE, build):
            PROBE.enqueue(build.pk)
    start_next()


def is_queued(task: Task, build: RuntimeBuild) -> bool:
    return bool(OrmQ.objects.filter(key=task.queue, payload=payload_of(task, build.pk)).exists())


def start_next() -> None:
    """Enqueue the build that has waited longest. A surplus task does no harm: see tasks.take."""
    if RuntimeBuild.objects.working().filter(node=settings.SANDBOX_NODE).exists():
        return
    waiting = RuntimeBuild.objects.filter(state=BuildState.QUEUED).order_by("id").first()
    # The builder may be away for long, and keepers ask every few seconds.
    if waiting and not is_queued(BUILD, waiting):
        enqueue(waiting)
