"""/api/v1/seccomp-profiles: clients read the profiles, administrators change them."""

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


def with_clients_visible_to(caller: Client | None) -> QuerySet[SeccompProfile]:
    """Return profiles with the columns of ProfileSchema.

    Only callers who see everything get the clients: other clients must not learn their names.
    """
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
        return Response([ProfileSchema.dump(profile) for profile in with_clients_visible_to(self.caller)])

    @extend_schema(
        summary="Add a seccomp profile",
        operation_id="add_seccomp_profile",
        description="Administrators only. Send `rules`, or `parent` with the system calls to `allow` and `deny` in "
        "addition. The first revision is in force at once, because nothing uses the profile yet.",
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
        answer = ProfileSchema.dump(with_clients_visible_to(self.caller).get(pk=profile.pk))
        return Response(answer, status=201, headers=headers)


class ProfileView(CatalogueView):
    @extend_schema(
        summary="One seccomp profile",
        operation_id="get_seccomp_profile",
        responses=schema.answers({200: ProfileSchema}, 404),
        tags=TAGS,
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(ProfileSchema.dump(get_object_or_404(with_clients_visible_to(self.caller), name=name)))

    @extend_schema(
        summary="Change a seccomp profile",
        operation_id="change_seccomp_profile",
        description="Administrators only. `rules`, `allow` or `deny` add a revision and activate it. 409 if "
        "runtimes use the profile, because the revision is not proven on them: add a revision, probe it and "
        "activate it instead.",
        request=ProfileChangeForm(partial=True),
        responses=schema.answers({200: ProfileSchema}, *CHANGING, 404, 409),
        tags=TAGS,
    )
    def patch(self, request: Request, name: str) -> Response:
        with transaction.atomic():
            profile = get_object_or_404(SeccompProfile.objects.select_for_update(), name=name)
            self._change(profile, partly_validated(ProfileChangeForm, request.data), request)
        return Response(ProfileSchema.dump(with_clients_visible_to(self.caller).get(pk=profile.pk)))

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
        description="Administrators only. Deletes the profile's revisions, too. 409 while a runtime, a client or "
        "another profile uses it. Executions that ran under it can no longer be rerun with `then`.",
        responses=schema.answers({204: OpenApiResponse(description="Deleted.")}, 403, 404, 409),
        tags=TAGS,
    )
    def delete(self, request: Request, name: str) -> Response:
        remedy = "Give its runtimes, clients and derived profiles another profile first."
        return delete(get_object_or_404(SeccompProfile, name=name), remedy)


def next_revision(profile: SeccompProfile, values: dict[str, Any], request: Request) -> SeccompRevision:
    """Add a revision with the values and return it. Raises Django's ValidationError."""
    wanted: dict[str, Any] = {"allow": (), "deny": (), "rules": None}
    if profile.parent:
        edited = profile.edited
        wanted |= {"allow": edited.allow, "deny": edited.deny}
    wanted |= {name: values[name] for name in CHANGES if name in values}
    return revisions.add_revision(profile, **wanted, note=values.get("note", ""), by=actor_name(request.user))


class ValidateView(CatalogueView):
    @extend_schema(
        summary="Check a profile",
        operation_id="validate_seccomp_profile",
        description="Administrators only. Changes nothing. A profile with errors cannot be saved. Warnings and "
        "remarks name rules that gVisor does not apply, and what the profile will break.",
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
