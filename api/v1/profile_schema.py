"""The shape of the answers about seccomp profiles, for the OpenAPI schema only: profiles.py makes them."""

from rest_framework import serializers

from api.v1.schema import AnyJson
from seccomp_profiles.findings import LEVELS


class Names(serializers.ListField):
    child = serializers.CharField()


class FindingSchema(serializers.Serializer):  # type: ignore[type-arg]
    level = serializers.ChoiceField([(level, level) for level in LEVELS])
    path = serializers.CharField(help_text="syscalls[0].names, say.")
    message = serializers.CharField()
    remedy = serializers.CharField()
    rule = serializers.IntegerField(allow_null=True, help_text="Counted from 1.")
    syscall = serializers.CharField()


class FindingsSchema(serializers.Serializer):  # type: ignore[type-arg]
    valid = serializers.BooleanField(help_text="It holds no error.")
    findings = FindingSchema(many=True)
    effective = AnyJson(allow_null=True, help_text="What Docker would be given; null: no filter, or no valid one.")
    sha256 = serializers.CharField(allow_null=True)


class VerdictSchema(serializers.Serializer):  # type: ignore[type-arg]
    runtime = serializers.CharField()
    verdict = serializers.CharField(help_text="Of the newest probe; empty: there is none.")
    probed_at = serializers.DateTimeField(allow_null=True)
    obstacle = serializers.CharField(help_text="Why it is not proven there; empty: it is.")


class RevisionSchema(serializers.Serializer):  # type: ignore[type-arg]
    profile = serializers.CharField()
    number = serializers.IntegerField()
    active = serializers.BooleanField()
    sha256 = serializers.CharField()
    note = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    parent_revision = serializers.IntegerField(allow_null=True)
    allow = Names()
    deny = Names()


class RevisionDetailSchema(RevisionSchema):
    rules = AnyJson(allow_null=True, help_text="As written.")
    effective = AnyJson(allow_null=True, help_text="What Docker is given.")
    findings = FindingSchema(many=True)
    verdicts = VerdictSchema(many=True)


class ActivationSchema(serializers.Serializer):  # type: ignore[type-arg]
    revision = serializers.IntegerField()
    previous = serializers.IntegerField(allow_null=True)
    activated_at = serializers.DateTimeField()
    activated_by = serializers.CharField()
    override = serializers.CharField(help_text="Why, although it was not proven.")


class ProfileSchema(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    description = serializers.CharField()
    parent = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    parent_is_newer = serializers.BooleanField(help_text="The parent was changed since.")
    revision = serializers.IntegerField(help_text="The active one.")
    newest_revision = serializers.IntegerField()
    sha256 = serializers.CharField()
    rules = AnyJson(allow_null=True, help_text="What Docker is given.")
    runtimes = Names()
    clients = Names(help_text="For those who see every execution; empty for others.")


class ChangeSchema(serializers.Serializer):  # type: ignore[type-arg]
    syscall = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    description = serializers.CharField()


class DiffSchema(serializers.Serializer):  # type: ignore[type-arg]
    before = serializers.CharField()
    after = serializers.CharField()
    allowed = ChangeSchema(many=True)
    denied = ChangeSchema(many=True)
    changed = ChangeSchema(many=True)
