from django.urls import path
from django.urls.resolvers import URLPattern

from api.compatible import piston


def _piston(beginning: str, **options: None) -> list[URLPattern]:
    return [
        path(f"{beginning}/execute", piston.ExecuteView.as_view(**options)),
        path(f"{beginning}/runtimes", piston.RuntimesView.as_view(**options)),
        path(f"{beginning}/packages", piston.PackagesView.as_view(**options)),
    ]


urlpatterns = [
    *_piston("api/v2"),
    # Where the public instance has it.
    *_piston("api/v2/piston", schema=None),
]
