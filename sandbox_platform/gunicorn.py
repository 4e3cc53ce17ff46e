"""The web server. A request that waits for its execution costs a thread that sleeps, so there are many."""

import os

bind = f"{os.environ.get('SANDBOX_LISTEN', '0.0.0.0')}:{os.environ.get('SANDBOX_LISTEN_PORT', '9385')}"  # noqa: S104
workers = 2
worker_class = "gthread"
threads = int(os.environ.get("SANDBOX_WEB_THREADS") or 128)
# Requests share these connections; one that waits holds none.
os.environ.setdefault("SANDBOX_WEB_DB_POOL", "8")
timeout = 120  # of a worker's own heartbeat, not of a request
graceful_timeout = 30
keepalive = 75
backlog = 1024
# A filter has labels, a search text and a list of fields.
limit_request_line = 8190
# gunicorn's heartbeat file: on a read-only root only memory is writable.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True


def post_worker_init(worker: object) -> None:
    from django.urls import get_resolver

    from sandbox_platform.kit import garbage

    _ = get_resolver().url_patterns  # else the first request loads every view, and they are looked at for ever
    garbage.freeze()
