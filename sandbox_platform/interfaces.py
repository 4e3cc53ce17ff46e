"""What the console and the API look like to the frameworks that serve them: settings with nothing to set."""

from csp.constants import NONCE
from django.templatetags.static import static
from django.urls import reverse_lazy

# Scripts load only from our own static files, and eval is forbidden: hence Alpine's CSP build (console/frontend).
# `style-src-attr`: the theme and its scripts position elements by style attributes, which cannot load anything.
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
    "ACCOUNT": {"navigation": [{"title": "Login and security", "link": reverse_lazy("mfa_index")}]},
    "SIDEBAR": {"navigation": "console.navigation.sections"},
    "COLORS": {
        # A blue with a contrast of 4.5:1 on white (600) and on the dark background (400 and 500).
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
    # Version 3.1 has `propertyNames`.
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Relative to /redoc: sandbox_platform/redoc.py serves the script below that path.
    "REDOC_DIST": "redoc",
    # Answers of RAGFlow's endpoint have statuses of their own.
    "ENUM_NAME_OVERRIDES": {
        "CodePolicy": "runtimes.models.CodePolicy",
        "Status": "executions.models.Status",
        "RAGFlowStatus": "api.ragflow.results.STATUSES",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # Only requests state that a field must not be blank.
    "COMPONENT_SPLIT_REQUEST": True,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.v1.links.add_links",
    ],
}

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

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
