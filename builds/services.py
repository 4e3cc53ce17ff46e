"""What happens to builds; the API, the admin, the worker and the keeper all come through here."""

from collections.abc import Mapping

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Max
from django.utils import timezone
from django_q.tasks import async_task

from builds.models import USABLE, BuildKind, BuildState, RuntimeBuild
from runtimes.models import Runtime
from runtimes.packages import complete
from sandbox_platform.kit import liveness
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.errors import Conflicting
from sandboxes import images

BUILD_TASK = "builds.tasks.run_build"
ACTIVATE_TASK = "builds.tasks.activate_build"

LOST = """
    UPDATE runtimes_runtimebuild b SET state = 'failed', finished_at = now(),
        error = 'The worker that made it died. Start it again.'
    WHERE state IN ('building', 'probing') AND node = %s
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = b.worker_backend)
    RETURNING id
"""


def request_build(
    runtime: Runtime, *, kind: BuildKind, packages: Mapping[str, list[str]], by: str
) -> RuntimeBuild:
    """A queued build. Raises Conflicting while another of this runtime is under way."""
    try:
        with transaction.atomic():
            # Numbers are given out one at a time.
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
            f"A build of {runtime} is under way.", remedy="Wait for its end, or cancel it.", code="build_under_way"
        ) from e
    enqueue(build)
    return build


def enqueue(build: RuntimeBuild) -> None:
    async_task(BUILD_TASK, build.pk, task_name=f"build {build.pk}", broker=NotifyBroker())


def cancel(build: RuntimeBuild) -> bool:
    """False if it has ended."""
    now = timezone.now()
    rows = RuntimeBuild.objects.filter(pk=build.pk)
    if rows.filter(state=BuildState.QUEUED).update(
        state=BuildState.CANCELLED, cancel_requested_at=now, finished_at=now
    ):
        return True
    return bool(rows.working().update(cancel_requested_at=now))


def activate(build: RuntimeBuild) -> None:
    """Makes an earlier build the one that runs, in the background. Raises Conflicting and NobodyAnswers."""
    if build.state == BuildState.LIVE:
        raise Conflicting("It is what runs now.", remedy="There is nothing to do.", code="build_is_live")
    if build.state not in USABLE or not build.image_id:
        raise Conflicting(
            f"{str(build).capitalize()} is {build.state} and has no image.",
            remedy="Build it again.",
            code="build_unusable",
        )
    if build.base != build.runtime.image:
        raise Conflicting(
            f"It was made of {build.base}, and the runtime's image is {build.runtime.image} today.",
            remedy="Change the image back first, or build again.",
            code="build_of_another_image",
        )
    if problem := missing_on(build.image_id):
        raise Conflicting(problem, remedy="Build it again.", code="image_gone")
    RuntimeBuild.objects.filter(pk=build.pk).update(progress="to be activated", error="")
    async_task(ACTIVATE_TASK, build.pk, task_name=f"activate {build.pk}", broker=NotifyBroker())


def missing_on(image_id: str) -> str:
    """Why not every node can run it; "" if each can. Raises NobodyAnswers."""
    nodes = liveness.keepers_alive()
    having = images.nodes_with(image_id, nodes)
    if having >= nodes:
        return ""
    return f"{nodes - having} of {nodes} nodes do not have the image {image_id[:19]}."


def look_after() -> None:
    """The keeper's: builds whose worker died, and queued ones whose task was lost or had to wait."""
    if not RuntimeBuild.objects.unfinished().exists():
        return
    with connection.cursor() as cursor:
        cursor.execute(LOST, [settings.SANDBOX_NODE])
    start_next()


def start_next() -> None:
    """A task too many does no harm: see tasks.take."""
    if RuntimeBuild.objects.working().filter(node=settings.SANDBOX_NODE).exists():
        return
    if waiting := RuntimeBuild.objects.filter(state=BuildState.QUEUED).order_by("id").first():
        enqueue(waiting)
