"""/api/v1/seccomp-profiles/{name}/revisions: add, activate, export and compare revisions."""

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.catalogue import CHANGING, CatalogueView
from api.v1.problems import Conflict
from api.v1.profile_forms import ActivationForm, RevisionForm
from api.v1.profile_schema import ActivationSchema, DiffSchema, RevisionDetailSchema, RevisionSchema
from api.v1.profiles import TAGS, in_fields, next_revision
from sandbox_platform.kit.actors import actor_name
from sandbox_platform.kit.fields import validated
from sandbox_platform.kit.schemas import ANY
from seccomp_profiles import activation
from seccomp_profiles.diff import diff
from seccomp_profiles.models import SeccompProfile, SeccompRevision


class RevisionsView(CatalogueView):
    @extend_schema(
        summary="Revisions of a seccomp profile, newest first",
        operation_id="list_seccomp_revisions",
        responses=schema.answers({200: RevisionSchema(many=True)}, 404),
        tags=TAGS,
    )
    def get(self, request: Request, name: str) -> Response:
        profile = get_object_or_404(SeccompProfile, name=name)
        rows = profile.revisions.select_related("profile", "parent_revision")
        return Response([RevisionSchema.dump(revision) for revision in rows])

    @extend_schema(
        summary="Add a revision",
        operation_id="add_seccomp_revision",
        description="Administrators only. The revision is a draft until it is activated. A derived profile's revision "
        "is based on the parent's rules in force: an empty body takes over the parent's changes.",
        request=RevisionForm,
        responses=schema.answers({201: RevisionDetailSchema}, *CHANGING, 404),
        tags=TAGS,
    )
    def post(self, request: Request, name: str) -> Response:
        profile = get_object_or_404(SeccompProfile, name=name)
        values = validated(RevisionForm, request.data)
        if not profile.parent and "rules" not in values:
            raise ValidationError({"rules": ["Send the rules, or null for no filter."]})
        try:
            revision = next_revision(profile, values, request)
        except ModelError as e:
            raise in_fields(e) from e
        headers = {"Location": f"/api/v1/seccomp-profiles/{name}/revisions/{revision.number}"}
        return Response(RevisionDetailSchema.dump(revision), status=201, headers=headers)


def revision_named(name: str, number: int) -> SeccompRevision:
    rows = SeccompRevision.objects.select_related("profile__parent", "parent_revision")
    # A number above Postgres's integer would raise an error instead of a 404.
    return get_object_or_404(rows, profile__name=name, number=min(number, 2**31 - 1))


class RevisionView(CatalogueView):
    @extend_schema(
        summary="One revision with its findings and verdicts",
        operation_id="get_seccomp_revision",
        responses=schema.answers({200: RevisionDetailSchema}, 404),
        tags=TAGS,
    )
    def get(self, request: Request, name: str, number: int) -> Response:
        return Response(RevisionDetailSchema.dump(revision_named(name, number)))


class ActivateView(CatalogueView):
    @extend_schema(
        summary="Put a revision in force",
        operation_id="activate_seccomp_revision",
        description="Administrators only. Activate an older revision to roll back. After the response, no run gets a "
        "sandbox under another revision of the profile. 409 unless, for every enabled runtime that uses the "
        "profile, the newest probe says `enforced` and the runtime has not changed since. A revision that was in force "
        "before is activated all the same, unless a probe says `not_enforced`.",
        request=ActivationForm,
        responses=schema.answers({200: ActivationSchema}, *CHANGING, 404, 409),
        tags=TAGS,
    )
    def post(self, request: Request, name: str, number: int) -> Response:
        form = validated(ActivationForm, request.data)
        done = activation.activate(
            revision_named(name, number), by=actor_name(request.user), override=form.get("override", "")
        )
        return Response(ActivationSchema.dump(done))


class RevisionExportView(CatalogueView):
    @extend_schema(
        summary="Export a revision as a file",
        operation_id="export_seccomp_revision",
        description="For `docker run --security-opt seccomp=FILE`. `effective`: the rules that Docker gets. `rules`: "
        "the rules as they were written or imported; a derived profile has only `effective`.",
        parameters=[OpenApiParameter("form", enum=["effective", "rules"], default="effective")],
        responses=schema.answers({200: ANY}, 404, 409, 422),
        tags=TAGS,
    )
    def get(self, request: Request, name: str, number: int) -> HttpResponse:
        revision = revision_named(name, number)
        form = request.query_params.get("form", "effective")
        if form not in ("effective", "rules"):
            raise ValidationError({"form": ["Must be effective or rules."]})
        content = getattr(revision, form)
        if content is None:
            raise Conflict(
                f"{revision} has no {form} to export: it has no filter, or its profile is derived.",
                remedy="Export `effective`, or another revision.",
                code="nothing_to_export",
            )
        return as_file(revision, content)


def as_file(revision: SeccompRevision, content: Any) -> HttpResponse:
    response = JsonResponse(content, json_dumps_params={"indent": 2})
    response["Content-Disposition"] = f'attachment; filename="{revision.profile.name}-{revision.number}.json"'
    return response


class DiffView(CatalogueView):
    @extend_schema(
        summary="Compare two revisions",
        operation_id="diff_seccomp_revisions",
        description="Lists the system calls that became allowed, became denied, or have other conditions on their "
        "arguments.",
        parameters=[
            OpenApiParameter(
                "before",
                {"type": "string", "pattern": "^([0-9]{1,9}|parent)?$"},
                description="Number of a revision, or `parent`. Default: the revision in force.",
            ),
            OpenApiParameter(
                "after",
                {"type": "string", "pattern": "^([0-9]{1,9})?$"},
                description="Number of a revision. Default: the newest revision.",
            ),
        ],
        responses=schema.answers({200: DiffSchema}, 404, 422),
        tags=TAGS,
    )
    def get(self, request: Request, name: str) -> Response:
        profile = get_object_or_404(SeccompProfile.objects.select_related("active", "parent__active"), name=name)
        before = self._before(profile, request.query_params.get("before", ""))
        after = self._numbered(profile, "after", request.query_params.get("after", ""))
        after = after or profile.revisions.latest("number")
        found = diff(before.effective, after.effective).as_dict()
        return Response(DiffSchema.dump(before=str(before), after=str(after), **found))

    def _before(self, profile: SeccompProfile, text: str) -> SeccompRevision:
        if text != "parent":
            return self._numbered(profile, "before", text) or profile.current
        if profile.parent is None:
            raise ValidationError({"before": [f"{profile} extends no other profile."]})
        return profile.parent.current

    def _numbered(self, profile: SeccompProfile, field: str, text: str) -> SeccompRevision | None:
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise ValidationError({field: ["Must be the number of a revision."]})
        revision = profile.revisions.filter(number=int(text)).first()
        if revision is None:
            raise ValidationError({field: [f"{profile} has no revision {text}."]})
        revision.profile = profile
        return revision
