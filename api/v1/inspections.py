"""/api/v1/seccomp-inspections: probes, learning, dry runs and traces."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as ModelError
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.answers import url_of
from api.v1.base import ApiView
from api.v1.catalogue import CHANGING, CatalogueView
from api.v1.inspection_forms import InspectionForm, SaveForm
from api.v1.inspection_schema import InspectionDetailSchema, InspectionSchema, SavedSchema
from api.v1.problems import Conflict
from api.v1.profiles import TAGS, in_fields
from executions.models import Execution
from inspections import services as inspections
from inspections.models import Inspection, InspectionKind, InspectionState
from runtimes.models import Runtime
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.fields import validated
from seccomp_profiles.models import SeccompProfile, SeccompRevision

LISTED = 100


def rows() -> Any:
    return Inspection.objects.select_related("revision__profile", "runtime")


def accepted(inspection: Inspection) -> Response:
    headers = {"Location": f"/api/v1/seccomp-inspections/{inspection.pk}"}
    return Response(InspectionDetailSchema.dump(rows().get(pk=inspection.pk)), status=202, headers=headers)


class InspectionsBase(CatalogueView):
    """Base of views for auditors and administrators only: inspections show executions of every client."""

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if not (self.caller and self.caller.sees_everything):
            self.permission_denied(request, message="Only an auditor or an administrator may see inspections.")


class InspectionsView(InspectionsBase):
    @extend_schema(
        summary="Inspections of seccomp profiles, newest first",
        operation_id="list_seccomp_inspections",
        description="Administrators and auditors only. Returns the latest hundred.",
        parameters=[
            OpenApiParameter("kind", enum=InspectionKind.values),
            OpenApiParameter("state", enum=InspectionState.values),
        ],
        responses=schema.answers({200: InspectionSchema(many=True)}, 403, 422),
        tags=TAGS,
    )
    def get(self, request: Request) -> Response:
        found = rows()
        for field, known in (("kind", InspectionKind.values), ("state", InspectionState.values)):
            if (value := request.query_params.get(field)) is not None:
                if value not in known:
                    raise ValidationError({field: [f"Must be one of {', '.join(known)}."]})
                found = found.filter(**{field: value})
        return Response([InspectionSchema.dump(inspection) for inspection in found[:LISTED]])

    @extend_schema(
        summary="Request a probe, learning or a dry run",
        operation_id="request_seccomp_inspection",
        description="Administrators only. Workers run one inspection at a time on a node; poll Location. Its programs "
        "count against the client's quotas.",
        request=InspectionForm,
        responses=schema.answers({202: InspectionDetailSchema}, *CHANGING, 429),
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        form = validated(InspectionForm, request.data)
        kind, execution = form["kind"], form.get("execution")
        runtime = Runtime.objects.named(form["runtime"]).first()
        if runtime is None:
            raise ValidationError({"runtime": [f"There is no runtime {form['runtime']}."]})
        if execution and not Execution.objects.filter(pk=execution, runtime=runtime).exists():
            raise ValidationError({"execution": [f"{runtime} has no such execution."]})
        revision = revision_of(form)
        if kind != InspectionKind.LEARN and revision is None:
            raise ValidationError({"profile": ["Name the profile."]})
        wanted = {name: form[name] for name in ("last", "programs", "pure") if name in form}
        if kind == InspectionKind.REPLAY:
            wanted.setdefault("last", 20)
        inspection = inspections.request(
            kind,
            revision=revision,
            runtime=runtime,
            execution_id=execution,
            by=actor_name(request.user),
            client=self.caller,
            **wanted,
        )
        return accepted(inspection)


def revision_of(form: dict[str, Any]) -> SeccompRevision | None:
    if "profile" not in form:
        return None
    profile = SeccompProfile.objects.select_related("active").filter(name=form["profile"]).first()
    if profile is None:
        raise ValidationError({"profile": [f"There is no profile {form['profile']}."]})
    if "revision" not in form:
        return profile.current
    revision = profile.revisions.filter(number=form["revision"]).first()
    if revision is None:
        raise ValidationError({"revision": [f"{profile} has no revision {form['revision']}."]})
    return revision


def inspection_or_404(number: int) -> Inspection:
    inspection: Inspection = get_object_or_404(rows(), pk=min(number, 2**63 - 1))
    return inspection


class InspectionView(InspectionsBase):
    @extend_schema(
        summary="One inspection with its findings",
        operation_id="get_seccomp_inspection",
        responses=schema.answers({200: InspectionDetailSchema}, 403, 404),
        tags=TAGS,
    )
    def get(self, request: Request, number: int) -> Response:
        return Response(InspectionDetailSchema.dump(inspection_or_404(number)))


class CancelInspectionView(InspectionsBase):
    @extend_schema(
        summary="Cancel an inspection",
        operation_id="cancel_seccomp_inspection",
        description="Administrators only. A running inspection ends before its next sandbox. 409 if it has ended.",
        request=None,
        responses=schema.answers({200: InspectionDetailSchema}, 403, 404, 409),
        tags=TAGS,
    )
    def post(self, request: Request, number: int) -> Response:
        if not inspections.cancel(inspection_or_404(number)):
            raise Conflict("The inspection has already ended.", remedy="Read its findings.")
        return Response(InspectionDetailSchema.dump(inspection_or_404(number)))


class SaveView(InspectionsBase):
    @extend_schema(
        summary="Save learnt rules as a revision",
        operation_id="save_learnt_seccomp_profile",
        description="Administrators only. For an existing profile the revision is a draft: probe and activate it.",
        request=SaveForm,
        responses=schema.answers({201: SavedSchema}, *CHANGING, 404, 409),
        tags=TAGS,
    )
    def post(self, request: Request, number: int) -> Response:
        form = validated(SaveForm, request.data)
        inspection = inspection_or_404(number)
        try:
            revision = inspections.save_proposal(
                inspection, name=form["profile"], note=form.get("note", ""), by=actor_name(request.user)
            )
        except ModelError as e:
            raise in_fields(e) from e
        headers = {"Location": f"/api/v1/seccomp-profiles/{revision.profile.name}/revisions/{revision.number}"}
        return Response(SavedSchema.dump(revision), status=201, headers=headers)


class ExplainView(ApiView):
    @extend_schema(
        summary="Find the system calls that were refused",
        operation_id="explain_syscalls",
        description="Runs the execution again, traced, on its image, profile and limits. The result appears in "
        "the execution's `refused_calls`. Admitted like a rerun: it counts against the client's quotas. 409 for an "
        "execution without a seccomp profile.",
        request=None,
        responses=schema.answers({202: InspectionDetailSchema}, 403, 404, 409, 422, 429),
        tags=["Executions"],
    )
    def post(self, request: Request, execution_id: UUID) -> Response:
        execution = self.execution(execution_id)
        inspection = inspections.explain(execution, by=actor_name(request.user), client=self.caller)
        response = accepted(inspection)
        response["Location"] = url_of(execution.pk)
        return response
