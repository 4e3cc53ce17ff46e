from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client as Http
from django.urls import path
from django.utils import timezone
from drf_spectacular.views import SpectacularJSONAPIView
from pytest_django import Settings

from api.v1.me import MeView
from clients.admission import admit
from clients.models import Client, ClientStorage, Role, Token
from executions.models import Execution, Status
from tests.conftest import TOKEN

MakeExecution = Callable[..., Execution]
urlpatterns = [
    path("me", MeView.as_view()),
    path(
        "schema",
        SpectacularJSONAPIView.as_view(urlconf=__name__, authentication_classes=[], permission_classes=[]),
    ),
]
pytestmark = pytest.mark.urls(__name__)


def me(http: Http) -> dict:
    answer = http.get("/me", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def caller(client_with_token: tuple[Client, str]) -> Client:
    return client_with_token[0]


def change(client: Client, **fields: object) -> None:
    Client.objects.filter(pk=client.pk).update(**fields)
    client.refresh_from_db()


@pytest.mark.parametrize("role", Role)
def test_names_client_and_role(client: Http, caller: Client, role: Role) -> None:
    change(caller, role=role)
    assert (me(client)["client"], me(client)["role"]) == ("ragflow", role)


def test_shows_when_the_token_expires(client: Http, caller: Client) -> None:
    expires_at = timezone.now() + timedelta(days=1)
    Token.objects.update(expires_at=expires_at, name="host 1")
    token = me(client)["token"]
    assert token["name"] == "host 1"
    assert token["expires_at"] == expires_at.isoformat().replace("+00:00", "Z")


def test_shows_nothing_of_the_token_itself(client: Http, caller: Client) -> None:
    assert TOKEN not in str(me(client))
    assert Token.objects.get().token_sha256 not in str(me(client))


def test_client_without_limits_is_unlimited(client: Http, caller: Client) -> None:
    answer = me(client)
    unlimited = {"limit": None, "used": None, "left": None, "frees_at": None}
    assert answer["runs_per_minute"] == answer["runs_per_day"] == unlimited
    assert answer["open_executions"] == unlimited | {"used": 0}
    assert set(answer["caps"].values()) == {None}
    assert answer["allowed_runtimes"] is None


def test_shows_caps_and_runtimes(client: Http, caller: Client) -> None:
    change(caller, max_wall_time_ms=500, max_artifact_count=0, allowed_runtimes=["python"])
    answer = me(client)
    assert (answer["caps"]["wall_time_ms"], answer["caps"]["artifact_count"]) == (500, 0)
    assert answer["allowed_runtimes"] == ["python"]


@pytest.mark.parametrize("name", ["runs_per_minute", "runs_per_day"])
def test_shows_what_is_left(client: Http, caller: Client, name: str) -> None:
    change(caller, **{f"max_{name}": 5})
    admit(caller, 2)
    allowance = me(client)[name]
    assert (allowance["limit"], allowance["used"], allowance["left"]) == (5, 2, 3)
    assert allowance["frees_at"] > timezone.now().isoformat()


def test_nothing_is_left_below_a_lowered_limit(client: Http, caller: Client) -> None:
    change(caller, max_runs_per_day=5)
    admit(caller, 4)
    change(caller, max_runs_per_day=3)
    assert me(client)["runs_per_day"]["left"] == 0


def test_shows_open_executions(client: Http, caller: Client, make_execution: MakeExecution) -> None:
    change(caller, max_open_executions=5)
    make_execution(client=caller, status=Status.RUNNING)
    make_execution(client=caller)
    assert me(client)["open_executions"] == {"limit": 5, "used": 1, "left": 4, "frees_at": None}


def test_shows_stored_bytes(client: Http, caller: Client, settings: Settings) -> None:
    settings.SANDBOX_CLIENT_STORAGE_BYTES = 50
    ClientStorage.objects.create(client=caller, bytes=20)
    assert me(client)["stored_bytes"] == {"limit": 50, "used": 20, "left": 30, "frees_at": None}
    change(caller, max_stored_bytes=0)
    assert me(client)["stored_bytes"] == {"limit": None, "used": 20, "left": None, "frees_at": None}


def test_shows_open_executions_without_a_limit(
    client: Http, caller: Client, make_execution: MakeExecution
) -> None:
    make_execution(client=caller, status=Status.QUEUED)
    assert me(client)["open_executions"]["used"] == 1


def test_caller_of_an_open_platform_has_no_name(client: Http, db: None, settings) -> None:
    settings.RAGFLOW_ALLOW_UNAUTHENTICATED = True
    answer = client.get("/me").json()
    assert (answer["client"], answer["token"], answer["role"]) == (None, None, "caller")


def test_needs_a_token(client: Http, caller: Client) -> None:
    assert client.get("/me").status_code == 401


def test_schema_describes_the_answer(client: Http, caller: Client) -> None:
    schemas = client.get("/schema").json()["components"]["schemas"]
    assert set(schemas["Me"]["properties"]) == set(me(client))
    assert set(schemas["Caps"]["properties"]) == set(me(client)["caps"])
