"""GET /metrics: what Prometheus reads. It has a token of its own, which opens nothing else."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from api.v1.problems import MEDIA_TYPE, body
from metrics.exposition import exposition

SCHEME = "Bearer"


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    if not settings.SANDBOX_METRICS_TOKEN:
        remedy = "Set SANDBOX_METRICS_TOKEN in .env (make ensure_env generates one), then run make restart."
        return _refused(403, "No token is set for /metrics.", "metrics_closed", remedy)
    if not _is_authorised(request):
        remedy = (
            "Send Authorization: Bearer with the value of SANDBOX_METRICS_TOKEN. A client's token does not do."
        )
        refused = _refused(401, "The token of /metrics is missing or wrong.", "metrics_token", remedy)
        refused["WWW-Authenticate"] = SCHEME
        return refused
    if request.method not in ("GET", "HEAD"):
        refused = _refused(405, f"/metrics has no {request.method}.", "method_not_allowed", "Send GET.")
        refused["Allow"] = "GET, HEAD"
        return refused
    text, content_type = exposition(request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})


def _is_authorised(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == SCHEME.lower() and constant_time_compare(
        token.strip(), settings.SANDBOX_METRICS_TOKEN
    )


def _refused(status: int, detail: str, code: str, remedy: str) -> JsonResponse:
    problem = body(status, detail, code, remedy=remedy)
    return JsonResponse(problem, status=status, content_type=MEDIA_TYPE)
