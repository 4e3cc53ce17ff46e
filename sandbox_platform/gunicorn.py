"""Settings of the web server. A request that waits for its execution occupies a sleeping thread, hence many threads."""

import os
import sys
from typing import Any

# Its log is set up with the settings before the application is loaded.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
bind = f"{os.environ.get('SANDBOX_LISTEN', '0.0.0.0')}:{os.environ.get('SANDBOX_LISTEN_PORT', '9385')}"  # noqa: S104
workers = 2
worker_class = "sandbox_platform.kit.web.worker.Worker"
logger_class = "sandbox_platform.kit.web.log.Log"
# Beyond them, those that have waited longest for a request are closed. Below the usual limit of 1,024 open files.
worker_connections = 800
# A process is renewed after so many requests, when nobody waits for it.
max_requests = 20_000
max_requests_jitter = 5_000
threads = int(os.environ.get("SANDBOX_WEB_THREADS") or 128)
# Requests share these connections. A request that waits for its execution holds none.
os.environ.setdefault("SANDBOX_WEB_DB_POOL", "8")
timeout = 120  # limits the gap between a worker's heartbeats, not a request
graceful_timeout = 30
keepalive = 75
backlog = 1024
# A list's filters can be long: labels, a search text and field names.
limit_request_line = 8190
# gunicorn's heartbeat file needs a writable place: the root file system is read-only.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True


# A thread that waits for the interpreter's lock gets it after this long at the latest, for each that computes. With
# Python's 5 ms, as many computing threads as there are kept the event loop from the health check for seconds.
SWITCH_S = 0.001


def when_ready(server: Any) -> None:
    # With --preload: what the processes share is loaded once, and they are forked with it.
    if server.cfg.preload_app:
        post_worker_init(None)


def post_worker_init(worker: object) -> None:
    sys.setswitchinterval(SWITCH_S)
    from django.urls import get_resolver

    from metrics import requests
    from sandbox_platform.kit import garbage
    from usage import refusals

    # Load every view now: the first request would do it, after freeze(), and each collection would scan the views.
    _ = get_resolver().url_patterns
    garbage.freeze()
    if worker is not None:
        refusals.writer.start()
        requests.flusher.start()


def worker_exit(server: object, worker: object) -> None:
    from metrics import requests
    from sandbox_platform.kit import tracing
    from usage import refusals

    refusals.writer.stop()
    requests.flusher.stop()
    tracing.flush()
