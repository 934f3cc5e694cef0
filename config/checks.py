"""Configurations that can't be meant, told before they do harm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from config.access.models import ApiKey


@register(Tags.security)
def environment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Settings that contradict each other."""
    stripe_key = settings.STRIPE_SECRET_KEY
    live_stripe_key = "_live_" in stripe_key
    found: list[CheckMessage] = []
    if settings.ENVIRONMENT not in ("sandbox", "live"):
        found.append(
            Error(
                f"ENVIRONMENT is {settings.ENVIRONMENT!r}.", hint="Set it to “sandbox” or “live”.", id="subledger.E001"
            )
        )
    if settings.ENVIRONMENT == "live" and not stripe_key:
        found.append(
            Error(
                "The live environment has no payment processor: the built-in one is for the sandbox only.",
                hint="Set STRIPE_SECRET_KEY, or ENVIRONMENT=sandbox.",
                id="subledger.E002",
            )
        )
    if live_stripe_key and settings.DEBUG:
        found.append(
            Error("DEBUG is on with a live Stripe key.", hint="Unset DEBUG, or use a test key.", id="subledger.E003")
        )
    if stripe_key and live_stripe_key != (settings.ENVIRONMENT == "live"):
        found.append(
            Error(
                f"The Stripe key isn't one for the {settings.ENVIRONMENT} environment.",
                hint="Live keys go with ENVIRONMENT=live, test keys with ENVIRONMENT=sandbox.",
                id="subledger.E004",
            )
        )
    if stripe_key and not settings.STRIPE_WEBHOOK_SECRET:
        found.append(
            Error(
                "Stripe's webhooks can't be trusted without their secret.",
                hint="Set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret.",
                id="subledger.E005",
            )
        )
    for name, value, starts in (
        ("STRIPE_SECRET_KEY", stripe_key, ("sk_", "rk_")),
        ("STRIPE_WEBHOOK_SECRET", settings.STRIPE_WEBHOOK_SECRET, ("whsec_",)),
    ):
        if value and not value.startswith(starts):
            found.append(
                Error(
                    f"{name} isn't what Stripe calls so.",
                    hint=f"It starts with {' or '.join(starts)}.",
                    id="subledger.E008",
                )
            )
    missing = [path for path in settings.INVOICE_FONTS if not Path(path).is_file()]
    if missing:
        found.append(
            Error(
                f"INVOICE_FONTS names what isn't there: {', '.join(missing)}.",
                hint="Name font files, separated by commas, or leave it empty.",
                id="subledger.E007",
            )
        )
    if settings.SECRET_KEY == settings.INSECURE_SECRET_KEY and not settings.DEBUG:
        found.append(
            Error(
                "SECRET_KEY is the one that everyone knows.",
                hint="Set SECRET_KEY to 50 random characters of your own.",
                id="subledger.E006",
            )
        )
    return found


@register(Tags.database)
def has_api_key(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """Runs with `check --database default` and before migrations."""
    if "default" not in (databases or ()):
        return []
    try:
        if ApiKey.objects.live().exists():
            return []
    except DatabaseError:  # not migrated yet
        return []
    return [
        Warning(
            "There is no API key, so nobody can call the API.",
            hint="Make one in the admin or with manage.py create_api_key --name NAME.",
            id="subledger.W001",
        )
    ]
