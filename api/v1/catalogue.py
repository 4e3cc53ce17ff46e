"""/api/v1/runtimes: clients read the runtimes, administrators change them."""

from typing import Any

from django.db import transaction
from django.db.models import ProtectedError
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from api.v1.catalogue_forms import ResetForm, RuntimeForm, change
from api.v1.catalogue_schema import ManifestDifferenceSchema, ManifestSchema, RuntimeSchema
from api.v1.problems import Conflict
from clients.admission import check_runtime
from clients.models import Client
from clients.permissions import MayAdminister
from runtimes import manifests
from runtimes.models import Runtime
from sandbox_platform.kit import disclosures
from sandbox_platform.kit.fields import Strict, validated
from seccomp_profiles.models import SeccompProfile

CHANGING = (*schema.BODY, 403, 409)


class CatalogueView(ApiView):
    permission_classes = [MayAdminister]


def delete(row: Runtime | SeccompProfile, remedy: str) -> Response:
    try:
        with transaction.atomic():
            row.delete()
    except ProtectedError as e:
        raise Conflict(f"{row} is in use.", remedy=remedy, code="in_use") from e
    return Response(status=204)


def shown(runtime: Runtime, caller: Client | None, request: Request) -> dict[str, Any]:
    """Return the runtime without its environment, which may hold credentials, for a caller who cannot run in it."""
    values: dict[str, Any] = RuntimeSchema.dump(runtime)
    if not may_look_into(runtime, caller):
        return values | {"environment": None}
    if runtime.environment:
        disclosures.shown(f"environment of runtime {runtime}", runtime.pk, http=request, often=True)
    return values


def may_look_into(runtime: Runtime, caller: Client | None) -> bool:
    return caller is None or caller.sees_everything or caller.may_use(runtime)


def check_may_look_into(runtime: Runtime, caller: Client | None) -> None:
    """Raise RuntimeNotAllowed for a caller who may neither use the runtime nor see everything."""
    if not may_look_into(runtime, caller):
        check_runtime(caller, runtime)


class RuntimesView(CatalogueView):
    @extend_schema(
        summary="Runtimes",
        operation_id="list_runtimes",
        responses=schema.answers({200: RuntimeSchema(many=True)}),
        tags=["Catalogue"],
    )
    def get(self, request: Request) -> Response:
        runtimes = Runtime.objects.select_related("seccomp_profile")
        return Response([shown(runtime, self.caller, request) for runtime in runtimes])

    @extend_schema(
        summary="Add a runtime",
        operation_id="add_runtime",
        description="Administrators only. The image must be on every node, because a run never pulls an image: 422 for "
        "an enabled runtime otherwise. Send `enabled: false` to add a runtime whose image a build is to pull.",
        request=RuntimeForm,
        responses=schema.answers({201: RuntimeSchema}, *CHANGING),
        tags=["Catalogue"],
    )
    def post(self, request: Request) -> Response:
        runtime = Runtime()
        change(runtime, validated(RuntimeForm, request.data))
        headers = {"Location": f"/api/v1/runtimes/{runtime.slug}"}
        return Response(shown(runtime, self.caller, request), status=201, headers=headers)


class RuntimeView(CatalogueView):
    @extend_schema(
        summary="One runtime, by slug or alias",
        operation_id="get_runtime",
        responses=schema.answers({200: RuntimeSchema}, 404),
        tags=["Catalogue"],
    )
    def get(self, request: Request, slug: str) -> Response:
        runtimes = Runtime.objects.named(slug).select_related("seccomp_profile")
        return Response(shown(get_object_or_404(runtimes), self.caller, request))

    @extend_schema(
        summary="Change a runtime",
        operation_id="change_runtime",
        description="Administrators only. Fields that are left out keep their values. New runs use the new revision.",
        request=RuntimeForm(partial=True),
        responses=schema.answers({200: RuntimeSchema}, *CHANGING, 404),
        tags=["Catalogue"],
    )
    def patch(self, request: Request, slug: str) -> Response:
        with transaction.atomic():
            runtime = get_object_or_404(Runtime.objects.select_for_update(), slug=slug)
            change(runtime, partly_validated(RuntimeForm, request.data))
        return Response(shown(runtime, self.caller, request))

    @extend_schema(
        summary="Delete a runtime",
        operation_id="delete_runtime",
        description="Administrators only. 409 if executions refer to the runtime: disable it instead.",
        responses=schema.answers({204: OpenApiResponse(description="Deleted.")}, 403, 404, 409),
        tags=["Catalogue"],
    )
    def delete(self, request: Request, slug: str) -> Response:
        return delete(
            get_object_or_404(Runtime, slug=slug), 'The history refers to it: PATCH {"enabled": false} instead.'
        )


class RuntimeManifestView(CatalogueView):
    @extend_schema(
        summary="Compare a runtime with its manifest",
        operation_id="get_runtime_manifest",
        description="`images/<slug>/runtime.toml` has the first values of a runtime; later, the row decides. Returns "
        "the fields that differ, and the runtime's smoke programs.",
        responses=schema.answers({200: ManifestSchema}, 403, 404),
        tags=["Catalogue"],
    )
    def get(self, request: Request, slug: str) -> Response:
        runtime = get_object_or_404(Runtime.objects.named(slug))
        check_may_look_into(runtime, self.caller)
        found = manifests.differences(runtime)
        listed = [
            ManifestDifferenceSchema.dump(field=name, row=row, manifest=wanted)
            for name, row, wanted in found or ()
        ]
        return Response(ManifestSchema.dump(runtime, has_manifest=found is not None, differences=listed))

    @extend_schema(
        summary="Reset a runtime to its manifest",
        operation_id="reset_runtime",
        description="Administrators only. Resets `fields`, or all fields if none are named; then, or with "
        "`packages`, the runtime's live build is deactivated, too. Fields that a manifest does not have (policies, "
        "profile, enabled) keep their values.",
        request=ResetForm,
        responses=schema.answers({200: RuntimeSchema}, *CHANGING, 404, 409),
        tags=["Catalogue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        runtime = get_object_or_404(Runtime, slug=slug)
        form = validated(ResetForm, request.data)
        try:
            manifests.reset_one(runtime, form.get("fields"))
        except (manifests.ManifestError, FileNotFoundError) as e:
            raise Conflict(
                f"Not reset: {runtime.slug} has no valid manifest.",
                remedy="Run `manage.py sync_runtimes --reset` and read its output.",
                code="no_manifest",
            ) from e
        runtime.refresh_from_db()
        return Response(RuntimeSchema.dump(runtime))


def partly_validated(form: type[Strict], data: Any) -> dict[str, Any]:
    serializer = form(data=data, partial=True)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
