"""The only settings file: every environment variable is read here."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static
from django.utils.csp import CSP

from config import embedded

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

# Whom and what this deployment serves: one organisation in one environment.
ENVIRONMENT = env.str("ENVIRONMENT", "sandbox")  # "sandbox" or "live"
ORGANIZATION_NAME = env.str("ORGANIZATION_NAME", "Subledger")
ORGANIZATION_SLUG = env.str("ORGANIZATION_SLUG", "subledger")
ORGANIZATION_DETAILS = env.str("ORGANIZATION_DETAILS", "", multiline=True)  # address, tax number: printed on invoices
CURRENCY = env.str("CURRENCY", "usd")
# Above these a second member of staff approves: money in major units, and units granted or taken by hand. None: never.
APPROVAL_ABOVE_AMOUNT, APPROVAL_ABOVE_UNITS = (
    Decimal(limit) if (limit := env.str(name, "")) else None
    for name in ("APPROVAL_ABOVE_AMOUNT", "APPROVAL_ABOVE_UNITS")
)
BASE_URL = env.str("BASE_URL", "http://127.0.0.1:8000").rstrip("/")  # where hosted pages are reached

# TrueType or OpenType files for scripts that the fonts that come along lack (Chinese, Japanese, Korean …).
INVOICE_FONTS = env.list("INVOICE_FONTS", default=[])

# Empty: the built-in sandbox processor collects.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", "")
# With DEBUG only: the dotted path of a Stripe processor that stands in for the real one, such as that of the tests.
STRIPE_STAND_IN = env.str("STRIPE_STAND_IN", "")

# Webhooks of ours go to public addresses by https alone in the live environment, unless this is set.
WEBHOOKS_TO_PRIVATE_ADDRESSES = env.bool("WEBHOOKS_TO_PRIVATE_ADDRESSES", False)

DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# The embedded PostgreSQL stands in when no server is named.
SUBLEDGER_DATA = Path(env.str("SUBLEDGER_DATA", ".data"))
if not SUBLEDGER_DATA.is_absolute():
    SUBLEDGER_DATA = BASE_DIR / SUBLEDGER_DATA
database: dict[str, Any] = (
    env.db_url("DATABASE_URL", engine="config.database")
    if env.str("DATABASE_URL", "")
    else embedded.database(SUBLEDGER_DATA)
)
IS_EMBEDDED = database["ENGINE"] == "config.embedded"
DATABASES = {
    "default": {
        **database,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **database.get("OPTIONS", {}),
            "server_side_binding": True,
            # Statements that come again are planned once per connection. A pooler in between must support that.
            "prepare_threshold": 5,
            # Calls on one customer queue, but not for ever: after this they answer 429 lock_already_exists.
            "options": "-c lock_timeout=10s",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Without a key of its own the embedded mode makes one and keeps it; elsewhere a system check asks for it.
INSECURE_SECRET_KEY = "insecure-and-known-to-everyone"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", "") or (embedded.secret_key(SUBLEDGER_DATA) if IS_EMBEDDED else INSECURE_SECRET_KEY)

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "config.apps.ConfigConfig",
    "config.access.apps.AccessConfig",
    "plans.apps.PlansConfig",
    "entities.apps.EntitiesConfig",
    "billing.apps.BillingConfig",
]

MIDDLEWARE = [
    "config.api.ApiMiddleware",  # first: /v1 answers from here, without sessions, cookies or forms
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.zones.ZoneMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before those of the apps: what replaces a piece of the admin's theme.
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = "config.formats"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".static"
# In DEBUG, and before collectstatic was run, files come straight from the packages that bring them.
WHITENOISE_USE_FINDERS = DEBUG or not STATIC_ROOT.exists()
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS

# Behind TLS by default; TLS=false is for a machine of one's own or a private network.
TLS = env.bool("TLS", not DEBUG and not IS_EMBEDDED)
SESSION_COOKIE_SECURE = TLS
CSRF_COOKIE_SECURE = TLS
SECURE_SSL_REDIRECT = TLS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000 if TLS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = TLS
SECURE_HSTS_PRELOAD = TLS
# Only for a proxy that always sets this header itself.
if env.bool("TRUST_X_FORWARDED_PROTO", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.SELF],
    # The admin's Alpine evaluates the expressions in its attributes, and its pages carry inline scripts and styles.
    "script-src": [CSP.SELF, CSP.UNSAFE_INLINE, CSP.UNSAFE_EVAL],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],  # config.api.Endpoint asks for the key itself
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "EXCEPTION_HANDLER": "config.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    # A refused API call is the caller's matter; failures of ours are logged by config.api itself.
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "fontTools": {"level": "WARNING"},
        # It tells of each request and each answer; what goes wrong is logged by billing.processors.stripe.
        "stripe": {"level": "WARNING"},
    },
}

UNFOLD = {
    "SITE_TITLE": ORGANIZATION_NAME,
    "SITE_HEADER": ORGANIZATION_NAME,
    "SITE_SUBHEADER": "Live: real money" if ENVIRONMENT == "live" else "Sandbox: no real money",
    "SITE_SYMBOL": "savings",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("billing/favicon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "SHOW_BACK_BUTTON": False,
    "ENVIRONMENT": "billing.admin.menu.environment",
    "ENVIRONMENT_TITLE_PREFIX": "" if ENVIRONMENT == "live" else "[Sandbox]",
    "DASHBOARD_CALLBACK": "billing.admin.home.dashboard",
    "STYLES": [
        lambda request: static("billing/admin.css"),
        *([] if ENVIRONMENT == "live" else [lambda request: static("billing/sandbox.css")]),
    ],
    "SCRIPTS": [lambda request: static("billing/admin.js")],
    "SITE_VIEWS": [
        ("act/<slug:slug>/<int:customer>/", "act", "billing.admin.actions.approving.Propose"),
        ("approve/<int:pk>/", "decide", "billing.admin.actions.approving.Decide"),
        ("import/", "import", "billing.admin.importing.Import"),
        ("catalogue/import/", "catalogue-import", "plans.admin.importing.ImportCatalogue"),
        ("jobs/<int:pk>/", "job", "billing.admin.jobs.JobPage"),
        ("jobs/<int:pk>/rows.csv", "job-rows", "billing.admin.jobs.Rows"),
        ("webhooks/<slug:slug>/", "webhook-add", "billing.admin.webhooks.views.Act"),
        ("webhooks/<slug:slug>/<int:pk>/", "webhook-step", "billing.admin.webhooks.views.Act"),
        ("find/", "find", "billing.admin.search.Find"),
        ("usage/", "usage", "billing.admin.explorer.Explore"),
    ],
    "COMMAND": {"search_callback": "billing.admin.search.results"},
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": "billing.admin.menu.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(97.1% .013 240)",
            "100": "oklch(94.2% .03 240)",
            "200": "oklch(88.9% .06 242)",
            "300": "oklch(81% .105 244)",
            "400": "oklch(70.8% .15 248)",
            "500": "oklch(66% .16 250)",
            "600": "oklch(52.5% .17 256)",
            "700": "oklch(46% .155 258)",
            "800": "oklch(40% .13 260)",
            "900": "oklch(35% .105 261)",
            "950": "oklch(26% .08 262)",
        }
    },
}
