"""Seccomp profiles. Clients read them, administrators change them."""

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from executions.api import schema
from executions.api.base import validated
from executions.api.catalogue import CHANGING, CatalogueView, delete, partly_validated
from executions.api.catalogue_forms import ProfileForm
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompProfile


def profile_as_shown(profile: SeccompProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "description": profile.description,
        "sha256": profile.sha256,
        "rules": profile.rules,
        "runtimes": [runtime.slug for runtime in profile.runtimes.all()],
    }


def actor(request: Request) -> str:
    return f"client {request.user}"


def create(values: dict[str, Any], *, by: str) -> SeccompProfile:
    """Raises ValidationError."""
    profile = SeccompProfile(name=values["name"])
    checked(profile, values)
    return revisions.create_profile(
        values["name"], values.get("rules"), description=values.get("description", ""), by=by
    )


def change(profile: SeccompProfile, values: dict[str, Any], *, by: str) -> None:
    """Raises ValidationError."""
    checked(profile, values)
    profile.save()
    if "rules" in values:
        revisions.put_in_force(revisions.add_revision(profile, values["rules"], by=by), by=by)


def checked(profile: SeccompProfile, values: dict[str, Any]) -> None:
    for name in values.keys() - {"rules"}:
        setattr(profile, name, values[name])
    try:
        profile.full_clean()
        revisions.validate(values.get("rules"))
    except ModelError as e:
        raise ValidationError(e.message_dict) from e


class ProfilesView(CatalogueView):
    @extend_schema(
        summary="Seccomp profiles",
        operation_id="list_seccomp_profiles",
        responses=schema.answers({200: schema.ProfileSchema(many=True)}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        profiles = SeccompProfile.objects.select_related("active").prefetch_related("runtimes")
        return Response([profile_as_shown(profile) for profile in profiles])

    @extend_schema(
        summary="Add a seccomp profile",
        operation_id="add_seccomp_profile",
        description="Administrators only.",
        request=ProfileForm,
        responses=schema.answers({201: schema.ProfileSchema}, *CHANGING),
        tags=["Catalogue"],
    )
    def post(self, request: Request) -> Response:
        profile = create(validated(ProfileForm, request.data), by=actor(request))
        headers = {"Location": f"/api/v1/seccomp-profiles/{profile.name}"}
        return Response(profile_as_shown(profile), status=201, headers=headers)


class ProfileView(CatalogueView):
    @extend_schema(
        summary="One seccomp profile",
        operation_id="get_seccomp_profile",
        responses=schema.answers({200: schema.ProfileSchema}, 404),
        tags=["Catalogue"],
    )
    def get(self, request: Request, name: str) -> Response:
        return Response(profile_as_shown(get_object_or_404(SeccompProfile, name=name)))

    @extend_schema(
        summary="Change a seccomp profile",
        operation_id="change_seccomp_profile",
        description="Administrators only. No run starts under the old rules once this is answered.",
        request=ProfileForm(partial=True),
        responses=schema.answers({200: schema.ProfileSchema}, *CHANGING, 404),
        tags=["Catalogue"],
    )
    def patch(self, request: Request, name: str) -> Response:
        with transaction.atomic():
            profile = get_object_or_404(SeccompProfile.objects.select_for_update(), name=name)
            change(profile, partly_validated(ProfileForm, request.data), by=actor(request))
        return Response(profile_as_shown(profile))

    @extend_schema(
        summary="Delete a seccomp profile",
        operation_id="delete_seccomp_profile",
        description="Administrators only. 409 while a runtime uses it.",
        responses=schema.answers({204: OpenApiResponse(description="Gone.")}, 403, 404, 409),
        tags=["Catalogue"],
    )
    def delete(self, request: Request, name: str) -> Response:
        return delete(get_object_or_404(SeccompProfile, name=name), "Give its runtimes another profile first.")
