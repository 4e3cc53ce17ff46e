"""All settings. They come from environment variables; `.env.example` explains those that an operator sets."""

import os
import secrets
import socket
import sys
from datetime import timedelta
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from sandbox_platform.image_settings import *  # noqa: F403
from sandbox_platform.interfaces import (  # noqa: F401 -- Django reads them here
    CACHES,
    CONTENT_SECURITY_POLICY,
    REST_FRAMEWORK,
    SPECTACULAR_SETTINGS,
    TEMPLATES,
    UNFOLD,
)
from sandbox_platform.kit.command import application_name
from sandbox_platform.kit.env import (
    bound_host,
    envbool,
    envchoice,
    envduration,
    envhosts,
    envint,
    envlist,
    envmemory,
    envnetworks,
    envsecret,
    envworkers,
)
from sandbox_platform.outgoing import *  # noqa: F403 -- Django reads them here
from sandbox_platform.request_settings import *  # noqa: F403
from sandbox_platform.sign_on_settings import *  # noqa: F403
from sandbox_platform.watching_settings import *  # noqa: F403

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.2.0"
SPECTACULAR_SETTINGS |= {"VERSION": VERSION}

DEBUG = envbool("DJANGO_DEBUG", False)
SECRET_KEY = envsecret("DJANGO_SECRET_KEY")
# Derives the secrets of callbacks, which the web shows and the callbacks service signs with. Where there is no key of
# its own, as in `make dev`, it is the other one.
CALLBACK_KEY = envsecret("SANDBOX_CALLBACK_KEY") or SECRET_KEY
_started = {Path(sys.argv[0]).name, *sys.argv[1:]}
for _process, _key, _name in (
    ("gunicorn", SECRET_KEY, "DJANGO_SECRET_KEY"),
    ("callbacks", CALLBACK_KEY, "SANDBOX_CALLBACK_KEY"),
):
    if _process in _started and not _key:
        raise ImproperlyConfigured(f"{_name} is not set: run `make ensure_env`")
# Sessions are the web's alone. Every other process has a key that nobody knows.
SECRET_KEY = SECRET_KEY or secrets.token_urlsafe(50)

# The names under which this machine and RAGFlow's network know the service, and those that the operator adds. A request
# to another one is refused: see api/hosts.py.
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [
            # "web": the name of the service among the stack's own.
            *("localhost", "127.0.0.1", "[::1]", "sandbox-executor-manager", "web"),
            *(os.environ.get(name, "").lower() for name in ("SANDBOX_WEB_CONTAINER", "SANDBOX_NODE")),
            socket.gethostname().lower(),
            bound_host(os.environ.get("SANDBOX_EXECUTOR_MANAGER_BIND", "")),
            *envlist("DJANGO_ALLOWED_HOSTS"),
        ]
    )
)
ALLOWED_HOSTS = [name for name in ALLOWED_HOSTS if name]
CSRF_TRUSTED_ORIGINS = envlist("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    # Before the theme: the console overrides some of its templates and scripts.
    "console",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "console.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "pgtrigger",
    "pghistory",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "axes",
    *SIGN_ON_APPS,  # noqa: F405
    # The rooms, lowest layer first; see docs/architecture.md.
    "seccomp_profiles",
    "runtimes",
    "clients",
    "redaction",
    "sandboxes",
    "executions",
    "executions.callbacks",
    "executions.egress",
    "executions.failures",
    "builds",
    "inspections",
    "usage",
    "alerts",
    "metrics",
    "audit",
    "sandbox_platform",
]

MIDDLEWARE = [
    "api.requests.RequestMiddleware",
    "api.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "console.devices.KnownDeviceMiddleware",
    "audit.middleware.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "console.sign_on.middleware.SignOnMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sandbox_platform.urls"
WSGI_APPLICATION = "sandbox_platform.wsgi.application"
# RAGFlow's service answers /run and /run/ in other ways than Django's default; see api/ragflow/views.py.
APPEND_SLASH = True

DATABASES = {
    "default": dj_database_url.parse(
        envsecret("DATABASE_URL") or "postgres://sandbox@127.0.0.1:5432/sandbox_platform",
    )
}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL: Postgres is required (LISTEN/NOTIFY, SKIP LOCKED, triggers)")
# A URL without a password gets both from here: the role of the service that this process is, and its password. One with
# a password is used as it is, by all services; without SANDBOX_SERVICE (migrations) its role must own the tables.
SANDBOX_DATABASE_ROLE_PREFIX = os.environ.get("SANDBOX_DATABASE_ROLE_PREFIX") or "sandbox"
DATABASE_IS_SHARED = bool(DATABASES["default"]["PASSWORD"])
if not DATABASE_IS_SHARED:
    if service := envchoice("SANDBOX_SERVICE", "", ("", *SERVICES)):  # noqa: F405
        DATABASES["default"]["USER"] = f"{SANDBOX_DATABASE_ROLE_PREFIX}_{service}"
    DATABASES["default"]["PASSWORD"] = envsecret("DATABASE_PASSWORD")
    if service and not DATABASES["default"]["PASSWORD"]:
        # A container with several services has the password of each (sandbox_platform/agent.py).
        DATABASES["default"]["PASSWORD"] = envsecret(f"SANDBOX_DATABASE_{service.upper()}_PASSWORD")
# Each process keeps one connection. The web process is the exception: its threads share a pool (see gunicorn.py) and
# return their connection while they wait for a result, as most of them do.
DATABASES["default"]["CONN_MAX_AGE"] = None
# After a restart of Postgres every connection is dead. The check replaces it before a request or a task fails.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# Beside what the URL says, such as sslmode and sslrootcert.
DATABASES["default"].setdefault("OPTIONS", {})
# Nobody waits for the background services, and to end them for a slow answer makes a busy machine busier.
connect_timeout_s = 5 if os.environ.get("SANDBOX_SERVICE", "web") == "web" else 15
DATABASES["default"]["OPTIONS"] |= {
    "connect_timeout": connect_timeout_s,
    "application_name": application_name(sys.argv),
}
# A session of a machine that is gone ends after 25 s on both sides, and with it the locks by which it counts as alive.
DATABASES["default"]["OPTIONS"] |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
DATABASES["default"]["OPTIONS"]["options"] = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
SANDBOX_WEB_STATEMENT_TIMEOUT_MS = envduration("SANDBOX_WEB_STATEMENT_TIMEOUT", "30s")
if pool_size := envint("SANDBOX_WEB_DB_POOL", 0):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    # Short: a request that waits for a connection holds a thread, and while Postgres is away all of them would wait.
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": pool_size, "timeout": 10}
    # The web shares few connections between all callers: none may hold one for long. Exports read page by page.
    DATABASES["default"]["OPTIONS"]["options"] += (
        f" -c statement_timeout={SANDBOX_WEB_STATEMENT_TIMEOUT_MS}"
        f" -c idle_in_transaction_session_timeout={envduration('SANDBOX_WEB_IDLE_TIMEOUT', '1m')}"
    )

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "sandbox_platform.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# STATIC_ROOT is filled when the image is built. Without it, serve static files from their source directories.
WHITENOISE_USE_FINDERS = DEBUG or not STATIC_ROOT.exists()

# --- The web UI -----------------------------------------------------------------------------------------

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A session lasts a day at most and ends when the browser is closed.
SESSION_COOKIE_AGE = 24 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_FAILURE_VIEW = "console.errors.csrf_failed"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# Turn this on behind a proxy that terminates TLS and sets X-Forwarded-Proto. It is off by default because
# http://localhost must work, and because without such a proxy any caller could set that header.
HTTPS = envbool("DJANGO_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # RAGFlow calls from the same Docker network without TLS, so only the admin is redirected to HTTPS.
    SECURE_REDIRECT_EXEMPT = [r"^(?!admin/)"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# W021 recommends HSTS preloading, which is for the owner of the domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# This many wrong passwords for one user name from one address lock that pair out for a while.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "sandbox_platform.kit.callers.remote_address"
# Browsers that have logged in as the user before are not locked out by others behind the same address.
AXES_WHITELIST_CALLABLE = "console.devices.is_known"
AXES_LOCKOUT_CALLABLE = "console.errors.locked_out"
AXES_ENABLE_ADMIN = False  # replaced by read-only pages: console/admin/logins.py
AXES_VERBOSE = False

# --- The node: one Docker host with one worker and one keeper --------------------------------------------

SANDBOX_NODE = os.environ.get("SANDBOX_NODE") or socket.gethostname()
SANDBOX_JOINED = envbool("SANDBOX_JOINED", False)  # the database, the web and the callbacks are on another host
SANDBOX_LABEL = "sandbox-platform"
# What starts sandboxes: docker, or direct (runsc without Docker; the node's processes need more rights for it).
SANDBOX_ENGINE = envchoice(
    "SANDBOX_ENGINE",
    "docker" if SANDBOX_IMAGE_SOURCE == "docker" else "direct",  # noqa: F405
    ("docker", "direct"),
)
# Why `make` chose it, for the doctor.
SANDBOX_ENGINE_REASON = os.environ.get("SANDBOX_ENGINE_REASON") or ""
DOCKER_HOST = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
SANDBOX_GVISOR_RUNTIME = os.environ.get("SANDBOX_GVISOR_RUNTIME") or "runsc"
# The /etc/hosts of every sandbox, on Docker's host. `make` writes it.
SANDBOX_HOSTS_FILE = os.environ.get("SANDBOX_HOSTS_FILE") or "/var/lib/sandbox-platform/hosts"
# The second registration of gVisor traces the guest's system calls. The directory holds the pipes for the traces and
# must have the same path here and on the host. Clients' runs never use this registration.
SANDBOX_GVISOR_TRACE_RUNTIME = os.environ.get("SANDBOX_GVISOR_TRACE_RUNTIME") or "runsc-trace"
SANDBOX_TRACE_DIR = Path(os.environ.get("SANDBOX_TRACE_DIR") or "/var/lib/sandbox-platform/trace")
# The third registration lets its guest open a Unix socket of the host. The directory holds these sockets and must have
# the same path here and on the host. See executions/egress.
SANDBOX_GVISOR_EGRESS_RUNTIME = os.environ.get("SANDBOX_GVISOR_EGRESS_RUNTIME") or "runsc-egress"
# Where services renew a file while they are at work; see kit/heartbeat.py. Compose's health checks look there.
SANDBOX_ALIVE_DIR = os.environ.get("SANDBOX_ALIVE_DIR") or ""
SANDBOX_EGRESS_DIR = Path(os.environ.get("SANDBOX_EGRESS_DIR") or "/var/lib/sandbox-platform/doors")
# Limit of requests per run: a program in a loop must not fill the history.
SANDBOX_EGRESS_REQUESTS = envint("SANDBOX_EGRESS_REQUESTS", 1000, minimum=1)
# Limit of bytes per run, sent and received together.
SANDBOX_EGRESS_BYTES = envmemory("SANDBOX_EGRESS_BYTES", "100m")
# host:port of the proxy, and host:port where the gateway listens for the proxy's questions and reports.
SANDBOX_EGRESS_PROXY = os.environ.get("SANDBOX_EGRESS_PROXY") or "127.0.0.1:3128"
SANDBOX_EGRESS_LISTEN = os.environ.get("SANDBOX_EGRESS_LISTEN") or "127.0.0.1:3129"
# By which the gateway knows the proxy. Only the two have it. Empty: the gateway takes no proxy for its own.
SANDBOX_EGRESS_SECRET = envsecret("SANDBOX_EGRESS_SECRET")
# A gateway for the doors of other machines: host:port where it listens for them (without a host: on all addresses), and
# the secret from which the keys of the nodes are derived. Empty: it has the doors of its own machine.
SANDBOX_EGRESS_NODES_LISTEN = os.environ.get("SANDBOX_EGRESS_NODES_LISTEN") or ""
SANDBOX_EGRESS_NODES_SECRET = envsecret("SANDBOX_EGRESS_NODES_SECRET")
# A node without a gateway: host:port of the one that its doors lead to, and this node's key for it.
SANDBOX_EGRESS_REMOTE = os.environ.get("SANDBOX_EGRESS_REMOTE") or ""
SANDBOX_EGRESS_NODE_KEY = envsecret("SANDBOX_EGRESS_NODE_KEY")
# The direct engine's: the runsc that it calls (empty: the newest that `make` installed), the folder of the sandboxes,
# which a restart of the host may empty, and that of the images.
SANDBOX_RUNSC = os.environ.get("SANDBOX_RUNSC") or ""
SANDBOX_RUN_DIR = Path(os.environ.get("SANDBOX_RUN_DIR") or "/run/sandbox-platform")
SANDBOX_IMAGE_DIR = Path(os.environ.get("SANDBOX_IMAGE_DIR") or "/var/lib/sandbox-platform/images")
# Disk space for them. Images that are needed now stay even beyond it.
SANDBOX_IMAGE_DISK_BYTES = envmemory("SANDBOX_IMAGE_DISK", "20g")
# The host's cgroup tree, from which a sandbox's CPU time and peak memory are read. In a container it is a read-only
# mount of the host's.
SANDBOX_CGROUP_ROOT = Path(os.environ.get("SANDBOX_CGROUP_ROOT") or "/sys/fs/cgroup")
# Where in it the direct engine's sandboxes are: "" for /sandbox-platform, auto for below this process's own cgroup.
SANDBOX_CGROUP_PARENT = envchoice("SANDBOX_CGROUP_PARENT", "", ("", "auto"))
# Cores of the machine, or of the container that is the node.
NODE_CPUS = envint("SANDBOX_NODE_CPUS", os.cpu_count() or 1, minimum=1)
# Sandboxes started at the same time. A start of the direct engine is busy from beginning to end, so more than one per
# core only makes whoever waits for the first of them wait longer. Docker's pauses in between.
STARTS_PER_CORE = {"direct": 1, "docker": 2}[SANDBOX_ENGINE]
SANDBOX_STARTS = envint("SANDBOX_STARTS", STARTS_PER_CORE * NODE_CPUS, minimum=1)
# Maximum wait of an accepted execution for a free worker. Then it is cancelled (queue timeout).
SANDBOX_QUEUE_TIMEOUT_MS = envduration("SANDBOX_QUEUE_TIMEOUT", "10m")

# Maximum duration of an image build.
SANDBOX_BUILD_TIMEOUT_MS = envduration("SANDBOX_BUILD_TIMEOUT", "20m")
# Number of a runtime's newest builds whose images are kept for a rollback.
SANDBOX_KEEP_BUILDS = envint("SANDBOX_KEEP_BUILDS", 3, minimum=1)
# Directory with the host's mirrors and certificates for builds, written by `make`.
SANDBOX_BUILD_CONFIG = Path(os.environ.get("SANDBOX_BUILD_CONFIG") or BASE_DIR / ".build-config")

# Hosts that builds may fetch from beside the host's mirrors: "name" (ports 80 and 443) or "name:port".
SANDBOX_BUILD_HOSTS = envhosts("SANDBOX_BUILD_HOSTS")

# Proxies in front of the service whose X-Forwarded-For is believed: see sandbox_platform/kit/callers.py.
SANDBOX_TRUSTED_PROXIES = envnetworks("SANDBOX_TRUSTED_PROXIES")

# Private networks that callbacks may reach.
SANDBOX_CALLBACK_NETWORKS = envnetworks("SANDBOX_CALLBACK_NETWORKS")
# Callbacks to one host that are sent at the same time, and pending ones of one host or client, beyond which newer ones
# are given up.
SANDBOX_CALLBACK_PER_HOST = envint("SANDBOX_CALLBACK_PER_HOST", 2, minimum=1)
SANDBOX_CALLBACK_PENDING = envint("SANDBOX_CALLBACK_PENDING", 10_000, minimum=1)

# --- The history's seals: see docs/audit.md -------------------------------------------------------------

# The private key that signs seals. Only the keeper has it.
SANDBOX_SEAL_KEY_FILE = os.environ.get("SANDBOX_SEAL_KEY_FILE") or ""
# Fingerprints of keys that verification trusts: that of the first one, and of any that came after a loss.
SANDBOX_SEAL_FINGERPRINT = envlist("SANDBOX_SEAL_FINGERPRINT")
# Where the heads of seals go. Empty: nowhere.
SANDBOX_HEADS_FILE = os.environ.get("SANDBOX_HEADS_FILE") or ""
SANDBOX_HEADS_MAIL = envlist("SANDBOX_HEADS_MAIL")
SANDBOX_HEADS_WEBHOOK = os.environ.get("SANDBOX_HEADS_WEBHOOK") or ""
SANDBOX_HEADS_SYSLOG = os.environ.get("SANDBOX_HEADS_SYSLOG") or ""

# --- RAGFlow's own variables: initial values of the runtimes -------------------------------------------

RAGFLOW_ALLOW_UNAUTHENTICATED = envbool("SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED", False)
RAGFLOW_TOKEN = envsecret("SANDBOX_EXECUTOR_MANAGER_API_TOKEN")
RAGFLOW_PORT = envint("SANDBOX_EXECUTOR_MANAGER_PORT", 9385, minimum=1)
SEED_POOL_SIZE = envint("SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", 3)
SEED_TIMEOUT_MS = envduration("SANDBOX_TIMEOUT", "10s")
SEED_MEMORY_BYTES = envmemory("SANDBOX_MAX_MEMORY", "256m")
SANDBOX_WORKERS = envworkers("SANDBOX_WORKERS", 8, cores=NODE_CPUS, largest_bytes=SEED_MEMORY_BYTES)
SEED_SECCOMP = envbool("SANDBOX_ENABLE_SECCOMP", False)
SEED_IMAGES = {
    "python": os.environ.get("SANDBOX_BASE_PYTHON_IMAGE", ""),
    "nodejs": os.environ.get("SANDBOX_BASE_NODEJS_IMAGE", ""),
}

# Runtimes whose images `make` has built on this node; None if `make` has not set the variable.
BUILT_RUNTIMES = envlist("SANDBOX_BUILT_RUNTIMES") or None

LONGEST_RUN_S = 3600
# What a sandbox may take to start, where the machine is emulated (sandboxes.docker_engine, sandboxes.session).
LONGEST_START_S = 900
CALLBACK_CLUSTER = "callbacks"
CALLBACK_WORKERS = 4
# The queue of `manage.py builder`.
BUILD_CLUSTER = "builds"

Q_CLUSTER = {
    "name": "sandbox-platform",
    "orm": "default",
    "broker_class": "sandbox_platform.kit.broker.NotifyBroker",
    "workers": SANDBOX_WORKERS,
    # Tasks wait in Postgres, where they can be cancelled and counted, not in this process's memory.
    "queue_limit": 1,
    "timeout": LONGEST_RUN_S + LONGEST_START_S + 120,
    "retry": LONGEST_RUN_S + LONGEST_START_S + 240,
    "max_attempts": 1,
    # A row of the scheduler's table can name any Python function: write access to it would mean access to Docker.
    "scheduler": False,
    "ack_failures": True,
    # Results are stored in the Execution row.
    "save_limit": -1,
    "recycle": 1000,
    "label": "Queue",
    "log_level": "WARNING",
    "ALT_CLUSTERS": {
        CALLBACK_CLUSTER: {"workers": CALLBACK_WORKERS, "timeout": 60, "retry": 120},
        # One build at a time. It takes no longer than a run may: see the check of SANDBOX_BUILD_TIMEOUT.
        BUILD_CLUSTER: {"workers": 1},
    },
}
