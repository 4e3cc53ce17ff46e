"""Response schemas of seccomp profiles and their revisions."""

from dataclasses import dataclass

from rest_framework import serializers

from inspections.models import Inspection
from runtimes.models import Runtime
from sandbox_platform.kit.schemas import AnyJson, Names, Schema, computed
from seccomp_profiles import activation, revisions
from seccomp_profiles.findings import LEVELS
from seccomp_profiles.models import SeccompRevision
from seccomp_profiles.proof import runtimes_under


class FindingSchema(Schema):
    level = serializers.ChoiceField([(level, level) for level in LEVELS])
    path = serializers.CharField(help_text="Path in the profile, such as syscalls[0].names.")
    message = serializers.CharField()
    remedy = serializers.CharField()
    rule = serializers.IntegerField(allow_null=True, help_text="Number of the rule, from 1.")
    syscall = serializers.CharField()


class FindingsSchema(Schema):
    valid = serializers.BooleanField(help_text="Whether no finding is an error.")
    findings = FindingSchema(many=True)
    effective = AnyJson(
        allow_null=True, help_text="The rules that Docker would get; null: no filter, or not valid."
    )
    sha256 = serializers.CharField(allow_null=True)


@dataclass(frozen=True)
class RuntimeProof:
    """The newest probe of a revision on one runtime, and why the revision is not proven there."""

    runtime: Runtime
    probe: Inspection | None  # None: never probed
    obstacle: str


def _proofs(revision: SeccompRevision) -> list[RuntimeProof]:
    runtimes = runtimes_under(revision.profile)
    probes = Inspection.objects.newest_probes([revision], runtimes)
    why_not = {proof.runtime: proof.obstacle for proof in activation.obstacles(revision, runtimes)}
    return [
        RuntimeProof(runtime, probes.get((revision.pk, runtime.pk)), why_not.get(runtime.slug, ""))
        for runtime in runtimes
    ]


class VerdictSchema(Schema):
    runtime = serializers.CharField(source="runtime.slug")
    verdict = computed(
        serializers.CharField(help_text="Verdict of the newest probe; empty: never probed."),
        lambda proof: proof.probe.verdict if proof.probe else "",
    )
    probed_at = serializers.DateTimeField(allow_null=True, source="probe.finished_at")
    obstacle = serializers.CharField(
        help_text="Why the revision is not proven on the runtime; empty: it is proven."
    )


class RevisionSchema(Schema):
    profile = serializers.CharField(source="profile.name")
    number = serializers.IntegerField()
    active = computed(serializers.BooleanField(), lambda revision: revision.profile.active_id == revision.pk)
    sha256 = serializers.CharField()
    note = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    parent_revision = serializers.IntegerField(allow_null=True, source="parent_revision.number")
    allow = Names()
    deny = Names()


class RevisionDetailSchema(RevisionSchema):
    rules = AnyJson(allow_null=True, help_text="The rules as written.")
    effective = AnyJson(allow_null=True, help_text="The rules that Docker gets.")
    findings = computed(FindingSchema(many=True), revisions.findings_of)
    verdicts = computed(VerdictSchema(many=True), _proofs)


class ActivationSchema(Schema):
    revision = serializers.IntegerField(source="revision.number")
    previous = serializers.IntegerField(allow_null=True, source="previous.number")
    activated_at = serializers.DateTimeField()
    activated_by = serializers.CharField()
    override = serializers.CharField(
        help_text="Reason for activating it although it was not proven; empty: it was proven."
    )


class ProfileSchema(Schema):
    """A row of profiles.with_clients_visible_to."""

    name = serializers.CharField()
    description = serializers.CharField()
    parent = serializers.CharField(allow_null=True, source="parent.name")  # type: ignore[assignment]
    parent_is_newer = serializers.BooleanField(
        help_text="Whether the parent has changed since the revision in force."
    )
    revision = serializers.IntegerField(help_text="Number of the revision in force.", source="current.number")
    newest_revision = serializers.IntegerField(source="newest")
    sha256 = serializers.CharField()
    rules = AnyJson(allow_null=True, help_text="The rules that Docker gets.")
    runtimes = computed(Names(), lambda profile: [runtime.slug for runtime in profile.runtimes.all()])
    clients = computed(
        Names(help_text="Clients that use the profile; empty for callers who do not see all executions."),
        lambda profile: [client.name for client in profile.shown_clients],
    )


class ChangeSchema(Schema):
    syscall = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    description = serializers.CharField()


class DiffSchema(Schema):
    before = serializers.CharField()
    after = serializers.CharField()
    allowed = ChangeSchema(many=True)
    denied = ChangeSchema(many=True)
    changed = ChangeSchema(many=True)
