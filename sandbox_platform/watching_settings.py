"""Settings of what operators watch: logs, metrics and traces. `.env.example` and docs/monitoring.md explain them."""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from sandbox_platform.kit.env import envchoice, envsecret
from sandbox_platform.kit.logs import Json, Lines

SERVICES = ("web", "worker", "keeper", "callbacks", "egress", "egress_doors", "builder")
# Of the Compose stack; elsewhere the command tells.
SANDBOX_SERVICE = os.environ.get("SANDBOX_SERVICE") or next(
    (word for word in sys.argv[1:2] if word in SERVICES), "web" if Path(sys.argv[0]).name == "gunicorn" else ""
)

# Opens /metrics and nothing else. Empty: /metrics is closed.
SANDBOX_METRICS_TOKEN = envsecret("SANDBOX_METRICS_TOKEN")
SHORTEST_TOKEN = 20
if SANDBOX_METRICS_TOKEN and len(SANDBOX_METRICS_TOKEN) < SHORTEST_TOKEN:
    raise ImproperlyConfigured(
        f"SANDBOX_METRICS_TOKEN has fewer than {SHORTEST_TOKEN} characters: leave it empty in .env, and "
        "make ensure_env generates one"
    )

SANDBOX_LOG_FORMAT = envchoice("SANDBOX_LOG_FORMAT", "line", ("line", "json"))
_json = {"()": Json, "service": SANDBOX_SERVICE, "node": os.environ.get("SANDBOX_NODE") or socket.gethostname()}
if SANDBOX_LOG_FORMAT == "json":
    logging.captureWarnings(True)  # Python writes them as text
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"chosen": _json if SANDBOX_LOG_FORMAT == "json" else {"()": Lines}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "chosen"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "axes": {"level": "WARNING"},
        # A line for each trigger, whenever migrations run.
        "pgtrigger": {"level": "WARNING"},
        "django-q": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # 4xx answers are ordinary results, not faults of the service.
        "django.request": {"level": "ERROR"},
    },
}

# OTEL_EXPORTER_OTLP_ENDPOINT and its like are read by OpenTelemetry's SDK (kit/tracing.py). These hold a key.
SANDBOX_OTLP_HEADERS = envsecret("OTEL_EXPORTER_OTLP_HEADERS")
