"""Settings of the mail server, and of messages that leave the platform. `.env.example` explains them."""

import os

from sandbox_platform.kit.env import envbool, envint, envsecret

# Django's own settings of mail.
EMAIL_HOST = os.environ.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = envint("EMAIL_PORT", 25, minimum=1)
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = envsecret("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = envbool("EMAIL_USE_TLS", False)  # STARTTLS
EMAIL_USE_SSL = envbool("EMAIL_USE_SSL", False)  # TLS from the first byte, usually on port 465
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL") or "sandbox-platform@localhost"
# Alerts by mail need a server that somebody chose.
SANDBOX_MAIL_CONFIGURED = bool(os.environ.get("EMAIL_HOST"))
# How people reach the console, for links in alerts. Empty: messages have no links.
SANDBOX_CONSOLE_URL = (os.environ.get("SANDBOX_CONSOLE_URL") or "").rstrip("/")
# How long resolved alerts and their notifications are kept.
SANDBOX_ALERT_DAYS = envint("SANDBOX_ALERT_DAYS", 400, minimum=1)
