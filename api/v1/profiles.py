"""Seccomp profiles. Clients read them, administrators change them."""

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db import transaction
from django.db.models import Max, Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.catalogue import CHANGING, CatalogueView, delete, partly_validated
from api.v1.profile_forms import ProfileChangeForm, ProfileForm, ValidateForm
from api.v1.profile_schema import FindingSchema, FindingsSchema, ProfileSchema
from clients.models import Client
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.fields import validated
from seccomp_profiles import activation, revisions
from seccomp_profiles.derivation import derive
from seccomp_profiles.findings import ERROR
from seccomp_profiles.models import SeccompProfile, SeccompRevision, hash_rules

CHANGES = ("rules", "allow", "deny")
TAGS = ["Seccomp profiles"]


def shown_to(caller: Client | None) -> QuerySet[SeccompProfile]:
    """With what ProfileSchema shows. One client's name is none of another's business."""
    clients = Client.objects.only("name", "seccomp_profile")
    if not (caller and caller.sees_everything):
        clients = clients.none()
    rows = SeccompProfile.objects.select_related("active", "parent").annotate(newest=Max("revisions__number"))
    return rows.prefetch_related("runtimes", Prefetch("clients", clients, to_attr="shown_clients"))


def in_fields(error: ModelError) -> ValidationError:
    return ValidationError(error.message_dict)


class ProfilesView(CatalogueView):
    @extend_schema(
        summary="Seccomp profiles",
        operation_id="list_seccomp_profiles",
        responses=schema.answers({200: ProfileSchema(many=True)}),
        tags=TAGS,
    )
    def get(self, request: Request) -> Response:
        return Response([ProfileSchema.dump(profile) for profile in shown_to(self.caller)])

    @extend_schema(
        summary="Add a seccomp profile",
        operation_id="add_seccomp_profile",
        description="Administrators only. With `rules` of its own, or with `parent` and what it allows and denies "
        "beside it. Its first revision is in force: nobody uses it yet.",
        request=ProfileForm,
        responses=schema.answers({201: ProfileSchema}, *CHANGING),
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        values = validated(ProfileForm, request.data)
        try:
            SeccompProfile(name=values["name"]).full_clean()
            profile = revisions.create_profile(
                values.pop("name"), values.pop("rules", None), **values, by=actor_name(request.user)
            )
        except ModelError as e:
            raise in_fields(e) from e
        headers = {"Location": f"/api/v1/seccomp-profiles/{profile.name}"}
        answer = ProfileSchema.dump(shown_to(self.caller).get(pk=profile.pk))
        return Response(answer, status=201, headers=headers)


class ProfileView(CatalogueView):
    @extend_schema(
        summary="One seccomp profile",
        operation_id="get_seccomp_profile",
        responses=schema.answers({200: ProfileSchema}, 404),
        tags=TAGS,
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(ProfileSchema.dump(get_object_or_404(shown_to(self.caller), name=name)))

    @extend_schema(
        summary="Change a seccomp profile",
        operation_id="change_seccomp_profile",
        description="Administrators only. With `rules`, `allow` or `deny`: adds a revision and puts it in "
        "force, or 409 when runtimes use the profile, as nothing has proven the revision on them yet: then add "
        "it, probe it and activate it.",
        request=ProfileChangeForm(partial=True),
        responses=schema.answers({200: ProfileSchema}, *CHANGING, 404, 409),
        tags=TAGS,
    )
    def patch(self, request: Request, name: str) -> Response:
        with transaction.atomic():
            profile = get_object_or_404(SeccompProfile.objects.select_for_update(), name=name)
            self._change(profile, partly_validated(ProfileChangeForm, request.data), request)
        return Response(ProfileSchema.dump(shown_to(self.caller).get(pk=profile.pk)))

    def _change(self, profile: SeccompProfile, values: dict[str, Any], request: Request) -> None:
        for field in values.keys() & {"name", "description"}:
            setattr(profile, field, values[field])
        try:
            profile.full_clean()
            profile.save()
            if values.keys() & set(CHANGES):
                activation.activate(next_revision(profile, values, request), by=actor_name(request.user))
        except ModelError as e:
            raise in_fields(e) from e

    @extend_schema(
        summary="Delete a seccomp profile",
        operation_id="delete_seccomp_profile",
        description="Administrators only, with its revisions. 409 while a runtime, a client or another profile "
        "uses it. What ran under it cannot be run again as it was.",
        responses=schema.answers({204: OpenApiResponse(description="Gone.")}, 403, 404, 409),
        tags=TAGS,
    )
    def delete(self, request: Request, name: str) -> Response:
        remedy = "Give its runtimes, clients and the profiles that extend it another one first."
        return delete(get_object_or_404(SeccompProfile, name=name), remedy)


def next_revision(profile: SeccompProfile, values: dict[str, Any], request: Request) -> SeccompRevision:
    """Raises ValidationError of Django."""
    wanted: dict[str, Any] = {"allow": (), "deny": (), "rules": None}
    if profile.parent:
        newest = profile.revisions.latest("number")
        wanted |= {"allow": newest.allow, "deny": newest.deny}
    wanted |= {name: values[name] for name in CHANGES if name in values}
    return revisions.add_revision(profile, **wanted, note=values.get("note", ""), by=actor_name(request.user))


class ValidateView(CatalogueView):
    @extend_schema(
        summary="What gVisor would make of a profile",
        operation_id="validate_seccomp_profile",
        description="Administrators only. Changes nothing. Errors keep a profile from being saved; warnings and "
        "remarks say what it does not do although it says so, and what it will break.",
        request=ValidateForm,
        responses=schema.answers({200: FindingsSchema}, *CHANGING),
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        form = validated(ValidateForm, request.data)
        parent, allow, deny = form.get("parent"), form.get("allow", ()), form.get("deny", ())
        found = revisions.check(form.get("rules"), parent=parent, allow=allow, deny=deny)
        valid = all(finding.level != ERROR for finding in found)
        effective = derive(parent.rules, allow=allow, deny=deny) if parent else form.get("rules")
        return Response(
            FindingsSchema.dump(
                valid=valid,
                findings=[FindingSchema.dump(finding) for finding in found],
                effective=effective if valid else None,
                sha256=hash_rules(effective) if valid else None,
            )
        )
