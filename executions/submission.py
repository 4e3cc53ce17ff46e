"""Turn a validated form into a queued execution: runtime, limits, files and Idempotency-Key."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg.errors
from django.conf import settings
from django.db import IntegrityError
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from clients.models import Client
from executions import bounds, files, places, services, waiting
from executions.limits import LimitTooHigh
from executions.models import Execution, Mode
from executions.models.execution import IDEMPOTENCY_CONSTRAINT, LARGE
from executions.verdict import MAX_NESTING, nested_deeper_than
from executions.waiting import GaveUp, Waiter
from runtimes.models import Runtime
from sandbox_platform.kit.callers import remote_address
from sandbox_platform.kit.errors import Conflicting, InvalidField
from sandbox_platform.kit.web import waits

ENDPOINT = "api"
# How long a cancelled run may take to end.
KILL_S = 30
# The queue timeout, the longest run of a worker and a margin: a later end means that the platform has failed.
WAIT_S = settings.SANDBOX_QUEUE_TIMEOUT_MS / 1000 + settings.LONGEST_RUN_S + 60
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEY_REUSED = "idempotency_key_reused"


def runtime_named(name: str) -> Runtime:
    runtime = Runtime.objects.lean().named(name).first()
    if runtime is None:
        raise InvalidField("runtime", f"There is no runtime {name!r}.", "GET /api/v1/runtimes lists them.")
    return runtime


def refuse_disabled(runtime: Runtime) -> None:
    """Raise Conflicting if the runtime is disabled. On POST /run, services.submit stores a rejected execution."""
    if not runtime.enabled:
        raise Conflicting(
            f"Runtime disabled: {runtime.slug}.",
            field="runtime",
            remedy="Use another runtime, or ask an administrator to enable it.",
            code="runtime_disabled",
        )


def request_of(
    form: dict[str, Any], *, runtime: Runtime, client: Client | None, http: Request | HttpRequest
) -> services.Request:
    """Return the services.Request of a validated SubmissionForm. Raises InvalidField and Conflicting."""
    refuse_disabled(runtime)
    if form["mode"] not in runtime.modes:
        raise InvalidField(
            "mode",
            f"The runtime {runtime.slug} has no mode {form['mode']}.",
            f"Send {' or '.join(runtime.modes)}.",
        )
    if nested_deeper_than(MAX_NESTING, form["arguments"]):
        raise InvalidField("arguments", f"Nested deeper than {MAX_NESTING} levels.", "Send the data as a file.")
    given = files.contents(form.get("files", ()))
    source_file, code, beside = files.program(form.get("code"), given, form.get("entry"), runtime.source_file)
    arguments = json.dumps(form["arguments"])
    bounds.refuse_large_program(code, "code" if "code" in form else "files")
    bounds.refuse_large_arguments(arguments)
    request = services.Request(
        runtime=runtime,
        code=code,
        endpoint=ENDPOINT,
        mode=Mode(form["mode"]),
        arguments=arguments,
        stdin=form["stdin"],
        argv=form["argv"],
        source_file=source_file,
        files=beside,
        variables=form["environment"],
        labels=form["labels"],
        callback_url=form["callback_url"],
        limits=form.get("limits", {}),
        client=client,
        remote_address=remote_address(http if isinstance(http, HttpRequest) else http._request),
    )
    try:
        return replace(request, configuration=request.resolve())
    except LimitTooHigh as e:
        raise InvalidField(f"limits.{e.field}", str(e), f"{e.remedy}, or leave the field out.") from e


def idempotency_key(http: Request) -> str | None:
    key = http.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidField(
            "Idempotency-Key", "Not 1 to 255 visible ASCII characters.", "Send a UUID, for example."
        )
    return key


def fingerprint(data: Any) -> str:
    """Return a keyed hash of a request body without `wait`, which does not change the execution.

    The key is not in the database: whoever reads the row could otherwise guess what was redacted in it.
    """
    return salted_hmac("executions.fingerprint", _content(data), algorithm="sha256").hexdigest()


def unkeyed_fingerprint(data: Any) -> str:
    """Return what rows of before hold instead."""
    return hashlib.sha256(_content(data).encode()).hexdigest()


def _content(data: Any) -> str:
    return json.dumps({name: value for name, value in data.items() if name != "wait"}, sort_keys=True)


def submit_once(
    key: str | None, data: Any, client: Client | None, make: Callable[[], services.Request]
) -> tuple[Execution, bool]:
    """Return the execution with this key, and whether it is new.

    Raises Conflicting if the key was used for a different request.
    """
    if key is None:
        request = make()
        return services.submit(request, policy=request.runtime.code_policy), True
    if earlier := _under(key, client):
        return _same(earlier, data), False
    request = replace(make(), idempotency_key=key, request_sha256=fingerprint(data))
    try:
        return services.submit(request, policy=request.runtime.code_policy), True
    except IntegrityError as e:
        if not _is_taken(e):
            raise
        # A concurrent request with the same key was stored first.
        return _same(Execution.objects.get(client=client, idempotency_key=key), data), False


def _under(key: str, client: Client | None) -> Execution | None:
    return Execution.objects.filter(client=client, idempotency_key=key).first()


def _is_taken(error: IntegrityError) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg.errors.UniqueViolation) and (
        cause.diag.constraint_name == IDEMPOTENCY_CONSTRAINT
    )


def _same(earlier: Execution, data: Any) -> Execution:
    if earlier.request_sha256 not in (fingerprint(data), unkeyed_fingerprint(data)):
        raise Conflicting(
            f"This Idempotency-Key was used for a different request, execution {earlier.pk}.",
            field="Idempotency-Key",
            remedy="Use a new key for a new request.",
            code=KEY_REUSED,
        )
    return earlier


def until_finished(execution: Execution, *, wait_s: float, http: Request) -> Execution:
    """Return the execution when it has finished, after `wait_s` seconds, or when the caller has disconnected.

    An unfinished execution continues. Does not wait if no place is free.
    """
    if execution.is_finished or not wait_s:
        return execution
    with places.waits.held(places.client_id_of(http)) as free:
        if not free:
            return execution
        forget(http, execution)
        with waiting.hub.waiter(execution.pk) as waiter:
            caller = http.META.get("gunicorn.socket")
            done = waiter.wait(timeout_s=wait_s, caller=caller, look_first=True)
    if not isinstance(done, Execution):
        done = Execution.objects.select_related("runtime").get(pk=execution.pk)
    done.client = execution.client  # avoid a query
    return done


def finished(waiter: Waiter, http: HttpRequest) -> Execution:
    """Wait for the execution's end and return it. Cancel it if the caller disconnects or WAIT_S is over.

    Raises APIException if a cancelled execution does not end within KILL_S.
    """
    done = waiter.wait(timeout_s=WAIT_S, caller=http.META.get("gunicorn.socket"))
    if isinstance(done, GaveUp):
        services.cancel(waiter.execution_id)
        done = waiter.wait(timeout_s=KILL_S)
    if isinstance(done, GaveUp):
        raise APIException(f"Execution {waiter.execution_id} was cancelled but has not ended.")
    return done


def forget(http: Request, execution: Execution) -> None:
    """Free the memory of the request's body and of the execution's large columns, which may wait for an hour."""
    vars(http).update(_full_data={}, _data={}, _files={})
    http._request.__dict__.pop("_body", None)
    waits.begun()
    forget_columns(execution)


def forget_columns(execution: Execution) -> None:
    """Free the memory of the large columns. Whoever reads one afterwards gets it from the database."""
    for column in (*LARGE, "variables"):
        execution.__dict__.pop(column, None)
