"""System checks of the settings. They run before any process starts and need no Docker, network or database."""

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from sandbox_platform.kit.service import SETTINGS

SHORTEST_TOKEN = 16
LONGEST_NODE_NAME = 100
SMALLEST_MEMORY = 64 * 1024**2
# Kubernetes sets it in every container.
IN_KUBERNETES = "KUBERNETES_SERVICE_HOST"


@register(Tags.security)
def check_access(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    messages: list[CheckMessage] = []
    if settings.RAGFLOW_ALLOW_UNAUTHENTICATED:
        messages.append(
            Warning(
                "Anybody can run programs without a token, on /run and on /api/v1.",
                hint="Unset SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED, unless only RAGFlow can reach this port.",
                id="sandbox_platform.W001",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        messages.append(
            Warning(
                "The service answers to any host name, so web pages can reach it by DNS rebinding.",
                hint="Name the hosts in DJANGO_ALLOWED_HOSTS instead of *.",
                id="sandbox_platform.W004",
            )
        )
    if 0 < len(settings.RAGFLOW_TOKEN) < SHORTEST_TOKEN:
        messages.append(
            Warning(
                f"SANDBOX_EXECUTOR_MANAGER_API_TOKEN has fewer than {SHORTEST_TOKEN} characters.",
                hint="Remove its value from .env and run `make ensure_env`, which generates a token.",
                id="sandbox_platform.W002",
            )
        )
    return messages


@register(Tags.security, deploy=True)
def check_debug(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    if not settings.DEBUG:
        return []
    return [
        Warning(
            "DJANGO_DEBUG is on: error pages show settings and source code to every visitor.",
            hint="Unset DJANGO_DEBUG.",
            id="sandbox_platform.W003",
        )
    ]


@register(SETTINGS)
def check_mail(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    problems = []
    if settings.EMAIL_USE_TLS and settings.EMAIL_USE_SSL:
        problems.append(("EMAIL_USE_TLS and EMAIL_USE_SSL are both on.", "Turn one of them off.", "E016"))
    url = urlsplit(settings.SANDBOX_CONSOLE_URL)
    if settings.SANDBOX_CONSOLE_URL and (url.scheme not in ("http", "https") or not url.hostname or url.query):
        fix = "Write the address of the console's host: https://sandbox.example.com"
        problems.append((f"SANDBOX_CONSOLE_URL: {settings.SANDBOX_CONSOLE_URL!r} is no address.", fix, "E017"))
    return [Error(problem, hint=fix, id=f"sandbox_platform.{number}") for problem, fix, number in problems]


@register(SETTINGS)
def check_queue(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    queue: dict[str, Any] = settings.Q_CLUSTER
    longest = settings.LONGEST_RUN_S
    rules = (
        (queue["timeout"] > longest, "E001", f"timeout must be above LONGEST_RUN_S ({longest} s)"),
        (
            queue["retry"] > queue["timeout"],
            "E002",
            "retry must be above timeout: a task is delivered once",
        ),
        (queue["max_attempts"] == 1, "E003", "max_attempts must be 1: a program is never run twice"),
        (queue["ack_failures"] is True, "E004", "ack_failures must be True, or a failed task is retried"),
    )
    return [
        Error(
            f"Q_CLUSTER: {problem}.",
            hint="Correct Q_CLUSTER in sandbox_platform/settings.py.",
            id=f"sandbox_platform.{number}",
        )
        for holds, number, problem in rules
        if not holds
    ]


@register(SETTINGS)
def check_seeds(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    longest_ms = settings.LONGEST_RUN_S * 1000
    rules = (
        (
            longest_ms >= settings.SEED_TIMEOUT_MS,
            "E005",
            "SANDBOX_TIMEOUT is above the maximum duration of a run",
            f"Set it to at most {settings.LONGEST_RUN_S}s.",
        ),
        (
            settings.SEED_MEMORY_BYTES >= SMALLEST_MEMORY,
            "E006",
            "SANDBOX_MAX_MEMORY is too small for a sandbox",
            "Set it to at least 64m.",
        ),
        (
            # A build runs in a worker, and a worker is killed when a task exceeds Q_CLUSTER's timeout.
            longest_ms >= settings.SANDBOX_BUILD_TIMEOUT_MS,
            "E015",
            "SANDBOX_BUILD_TIMEOUT is above the maximum duration of a task",
            f"Set it to at most {settings.LONGEST_RUN_S}s.",
        ),
        (
            len(settings.SANDBOX_NODE) <= LONGEST_NODE_NAME,
            "E007",
            "SANDBOX_NODE is too long",
            f"Use at most {LONGEST_NODE_NAME} characters.",
        ),
        (
            # In Kubernetes, where the chart's values decide it, the database may be in the same cluster.
            not settings.SANDBOX_JOINED or IN_KUBERNETES in os.environ or _verifies_the_server(),
            "E018",
            "The connection to the database of the first host could be listened to",
            "Add sslmode=verify-full and sslrootcert to DATABASE_URL, or run `make join` again.",
        ),
    )
    return [
        Error(f"{problem}.", hint=hint, id=f"sandbox_platform.{number}")
        for holds, number, problem, hint in rules
        if not holds
    ]


def _verifies_the_server() -> bool:
    options = settings.DATABASES["default"].get("OPTIONS", {})
    return options.get("sslmode") == "verify-full" and bool(options.get("sslrootcert"))


@register(SETTINGS)
def check_manifests(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    from runtimes.manifests import ManifestError, load_all

    try:
        load_all()
    except ManifestError as e:
        return [Error(str(e), hint="Correct the manifest.", id="sandbox_platform.E008")]
    return []
