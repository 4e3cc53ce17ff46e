"""All settings, from environment variables. `.env.example` has a comment for each."""

import os
import secrets
import socket
import sys
from datetime import timedelta
from pathlib import Path

import dj_database_url
from csp.constants import NONCE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from sandbox_platform.kit.command import application_name
from sandbox_platform.kit.env import envbool, envduration, envint, envlist, envmemory, envnetworks, envsecret

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

DEBUG = envbool("DJANGO_DEBUG", False)
SECRET_KEY = envsecret("DJANGO_SECRET_KEY")
if not SECRET_KEY:
    # Commands that need no shared key (makemigrations, collectstatic, check) may run on a random one;
    # a server may not, because web and worker sign the queue's messages with it.
    if {"worker", "keeper", "callbacks", "egress", "gunicorn"} & {Path(sys.argv[0]).name, *sys.argv[1:]}:
        raise ImproperlyConfigured("DJANGO_SECRET_KEY is not set: run `make ensure_env`")
    SECRET_KEY = secrets.token_urlsafe(50)

ALLOWED_HOSTS = envlist("DJANGO_ALLOWED_HOSTS", "*")
CSRF_TRUSTED_ORIGINS = envlist("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    # Before the theme, some of whose templates and scripts it replaces.
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
    # The rooms, from the ground upwards; see docs/architecture.md.
    "seccomp_profiles",
    "runtimes",
    "clients",
    "redaction",
    "sandboxes",
    "executions",
    "executions.callbacks",
    "executions.egress",
    "builds",
    "inspections",
    "audit",
    "sandbox_platform",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "audit.middleware.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "sandbox_platform.urls"
WSGI_APPLICATION = "sandbox_platform.wsgi.application"
# RAGFlow's service answers /run and /run/ differently from Django's habit; see api/ragflow/views.py.
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "csp.context_processors.nonce",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(
        envsecret("DATABASE_URL") or "postgres://sandbox@127.0.0.1:5432/sandbox_platform",
    )
}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL: only Postgres will do (LISTEN/NOTIFY, SKIP LOCKED, triggers)")
# One process serves one connection for life, except the web process: its threads, most of which only wait
# for a result, share a pool (see gunicorn.py) and hand their connection back while they wait.
DATABASES["default"]["CONN_MAX_AGE"] = None
# After a restart of Postgres every process holds dead connections: found out before they cost a request or a task.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["OPTIONS"] = {"connect_timeout": 5, "application_name": application_name(sys.argv)}
if pool_size := envint("SANDBOX_WEB_DB_POOL", 0):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": pool_size, "timeout": 30}

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
# Without the folder that the image build fills, from where they lie.
WHITENOISE_USE_FINDERS = DEBUG or not STATIC_ROOT.exists()

# --- The web UI -----------------------------------------------------------------------------------------

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A day at most; a browser that is closed has logged out.
SESSION_COOKIE_AGE = 24 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# Behind a proxy that speaks HTTPS and sets X-Forwarded-Proto. Off, because http://localhost must work, and
# because without such a proxy anybody could send that header.
HTTPS = envbool("DJANGO_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # RAGFlow calls from the same Docker network, where there is no TLS: only people are sent to HTTPS.
    SECURE_REDIRECT_EXEMPT = [r"^(?!admin/)"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Whether browsers should be built to know this host is for whoever owns the domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# No script but our own files, and no string is ever made into one: hence Alpine's CSP build (console/frontend).
# `style-src-attr`: the theme and its scripts position things by style attributes, which can load nothing.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", NONCE],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# After so many wrong passwords for one name from one address, both together wait.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "console/locked_out.html"
AXES_ENABLE_ADMIN = False  # our own pages, read-only: console/admin/logins.py
AXES_VERBOSE = False

UNFOLD = {
    "SITE_TITLE": "Sandbox Platform",
    "SITE_HEADER": "Sandbox Platform",
    "SITE_SYMBOL": "shield_lock",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/icon.svg")}
    ],
    "STYLES": [lambda _: static("console/console.css"), lambda _: static("console/configure.css")],
    "SCRIPTS": [lambda _: static("console/console.js")],
    "DASHBOARD_CALLBACK": "console.dashboard.dashboard",
    "SIDEBAR": {"navigation": "console.navigation.sections"},
    "COLORS": {
        # A blue that keeps 4.5:1 on white (600) and on the dark ground (400 and 500).
        "primary": {
            "50": "oklch(97% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(75% .14 254)",
            "500": "oklch(68% .17 257)",
            "600": "oklch(50% .2 262)",
            "700": "oklch(44% .19 264)",
            "800": "oklch(39% .16 265)",
            "900": "oklch(34% .13 266)",
            "950": "oklch(28.2% .091 267.9)",
        },
        "font": {
            "subtle-light": "var(--color-base-600)",
            "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-700)",
            "default-dark": "var(--color-base-300)",
            "important-light": "var(--color-base-900)",
            "important-dark": "var(--color-base-100)",
        },
    },
}

# RAGFlow sends the whole program and its arguments in one JSON body.
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["clients.auth.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sandbox Platform",
    "DESCRIPTION": "Runs untrusted code in fresh gVisor sandboxes.",
    "VERSION": VERSION,
    # 3.1 can say what the names in an object must look like.
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Relative to /redoc: the address of sandbox_platform/redoc.py is below it.
    "REDOC_DIST": "redoc",
    # Answers of RAGFlow's endpoint have a status of their own.
    "ENUM_NAME_OVERRIDES": {
        "CodePolicy": "runtimes.models.CodePolicy",
        "Status": "executions.models.Status",
        "RAGFlowStatus": "api.ragflow.results.STATUSES",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # What may not be blank says so, in requests alone.
    "COMPONENT_SPLIT_REQUEST": True,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.v1.links.add_links",
    ],
}

# --- The node: one Docker host with one worker and one keeper --------------------------------------------

SANDBOX_NODE = os.environ.get("SANDBOX_NODE") or socket.gethostname()
SANDBOX_LABEL = "sandbox-platform"
DOCKER_HOST = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
SANDBOX_GVISOR_RUNTIME = os.environ.get("SANDBOX_GVISOR_RUNTIME") or "runsc"
# The second registration of gVisor, which tells what its guest does, and the folder of the pipes it tells it
# through: the same path here and on the host. No run of a client ever starts under it.
SANDBOX_GVISOR_TRACE_RUNTIME = os.environ.get("SANDBOX_GVISOR_TRACE_RUNTIME") or "runsc-trace"
SANDBOX_TRACE_DIR = Path(os.environ.get("SANDBOX_TRACE_DIR") or "/var/lib/sandbox-platform/trace")
# The third registration, which lets its guest open a Unix socket of the host, and the folder where such sockets
# lie: the same path here and on the host. See executions/egress.
SANDBOX_GVISOR_EGRESS_RUNTIME = os.environ.get("SANDBOX_GVISOR_EGRESS_RUNTIME") or "runsc-egress"
SANDBOX_EGRESS_DIR = Path(os.environ.get("SANDBOX_EGRESS_DIR") or "/var/lib/sandbox-platform/doors")
# A program in a loop must not fill the history.
SANDBOX_EGRESS_REQUESTS = envint("SANDBOX_EGRESS_REQUESTS", 1000, minimum=1)
# Where the proxy is, and where it asks and tells: host:port.
SANDBOX_EGRESS_PROXY = os.environ.get("SANDBOX_EGRESS_PROXY") or "127.0.0.1:3128"
SANDBOX_EGRESS_LISTEN = os.environ.get("SANDBOX_EGRESS_LISTEN") or "127.0.0.1:3129"
# The host's cgroup tree: where CPU time and peak memory of a sandbox are read. In a container it is a
# read-only mount of the host's.
SANDBOX_CGROUP_ROOT = Path(os.environ.get("SANDBOX_CGROUP_ROOT") or "/sys/fs/cgroup")
SANDBOX_WORKERS = envint("SANDBOX_WORKERS", 8, minimum=1)
# Fresh sandboxes started at the same time: more than two a core only makes all of them slower.
SANDBOX_STARTS = envint("SANDBOX_STARTS", 2 * (os.cpu_count() or 1), minimum=1)
# How long an accepted execution may wait for a free worker before the platform gives it up.
SANDBOX_QUEUE_TIMEOUT_MS = envduration("SANDBOX_QUEUE_TIMEOUT", "10m")

# How long a build of an image may take before it is given up.
SANDBOX_BUILD_TIMEOUT_MS = envduration("SANDBOX_BUILD_TIMEOUT", "20m")
# Images of a runtime's newest builds are kept, so that one click goes back to them.
SANDBOX_KEEP_BUILDS = envint("SANDBOX_KEEP_BUILDS", 3, minimum=1)
# Folder of the host's mirrors and certificates for builds, written by `make`.
SANDBOX_BUILD_CONFIG = Path(os.environ.get("SANDBOX_BUILD_CONFIG") or BASE_DIR / ".build-config")

# Private networks whose hosts callbacks may reach nevertheless.
SANDBOX_CALLBACK_NETWORKS = envnetworks("SANDBOX_CALLBACK_NETWORKS")

# --- RAGFlow's own variables: they seed the runtimes' rows ---------------------------------------------

RAGFLOW_ALLOW_UNAUTHENTICATED = envbool("SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED", False)
RAGFLOW_TOKEN = envsecret("SANDBOX_EXECUTOR_MANAGER_API_TOKEN")
RAGFLOW_PORT = envint("SANDBOX_EXECUTOR_MANAGER_PORT", 9385, minimum=1)
SEED_POOL_SIZE = envint("SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", 3)
SEED_TIMEOUT_MS = envduration("SANDBOX_TIMEOUT", "10s")
SEED_MEMORY_BYTES = envmemory("SANDBOX_MAX_MEMORY", "256m")
SEED_SECCOMP = envbool("SANDBOX_ENABLE_SECCOMP", False)
SEED_IMAGES = {
    "python": os.environ.get("SANDBOX_BASE_PYTHON_IMAGE", ""),
    "nodejs": os.environ.get("SANDBOX_BASE_NODEJS_IMAGE", ""),
}

# Runtimes whose image this node has, as `make` tells; None: nobody told.
BUILT_RUNTIMES = envlist("SANDBOX_BUILT_RUNTIMES") or None

LONGEST_RUN_S = 3600
CALLBACK_CLUSTER = "callbacks"

Q_CLUSTER = {
    "name": "sandbox-platform",
    "orm": "default",
    "broker_class": "sandbox_platform.kit.broker.NotifyBroker",
    "workers": SANDBOX_WORKERS,
    # A task waits in Postgres, where it can be cancelled and counted, not in this process's memory.
    "queue_limit": 1,
    "timeout": LONGEST_RUN_S + 120,
    "retry": LONGEST_RUN_S + 240,
    "max_attempts": 1,
    # A row of its table names any Python function: whoever could write one would have Docker's socket.
    "scheduler": False,
    "ack_failures": True,
    # Results live in the Execution row.
    "save_limit": -1,
    "recycle": 1000,
    "label": "Queue",
    "log_level": "WARNING",
    "ALT_CLUSTERS": {CALLBACK_CLUSTER: {"workers": 4, "timeout": 60, "retry": 120}},
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "axes": {"level": "WARNING"},
        # A line for each trigger, whenever migrations run.
        "pgtrigger": {"level": "WARNING"},
        "django-q": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # A refused or failing program is a result, not a fault of the service.
        "django.request": {"level": "ERROR"},
    },
}
