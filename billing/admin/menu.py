"""The menu and the badge of the environment."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def environment(request: HttpRequest) -> tuple[str, str]:
    """A badge beside the account: red for live, amber for the sandbox."""
    return ("LIVE", "danger") if settings.ENVIRONMENT == "live" else ("SANDBOX", "warning")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """What this member of staff may see, by what they come for."""
    groups = [
        _group("", ("Home", "home", "index", "")),
        _group(
            "Customers",
            ("Customers", "apartment", "entities_customer_changelist", "entities.view_customer"),
            ("Seats and workspaces", "group", "entities_entity_changelist", "entities.view_entity"),
            ("Subscriptions", "autorenew", "billing_subscription_changelist", "billing.view_subscription"),
            ("Invoices", "receipt_long", "billing_invoice_changelist", "billing.view_invoice"),
        ),
        _group(
            "Catalogue",
            ("Plans", "sell", "plans_plan_changelist", "plans.view_plan"),
            ("Features", "category", "plans_feature_changelist", "plans.view_feature"),
        ),
        _group(
            "Usage",
            ("Balances", "account_balance_wallet", "billing_balance_changelist", "billing.view_balance"),
            ("Explorer", "monitoring", "usage", "billing.view_usageevent"),
            ("Ledger", "menu_book", "billing_ledgerentry_changelist", "billing.view_ledgerentry"),
            ("Events", "bolt", "billing_usageevent_changelist", "billing.view_usageevent"),
            ("Holds", "lock_clock", "billing_hold_changelist", "billing.view_hold"),
        ),
        _group(
            "Behind the scenes",
            ("Import from CSV", "upload_file", "import", "billing.can_import"),
            ("Bulk jobs", "checklist", "billing_bulkjob_changelist", "billing.view_bulkjob"),
            ("Approvals", "how_to_reg", "billing_approval_changelist", "billing.view_approval"),
            ("Webhook endpoints", "webhook", "billing_webhookendpoint_changelist", "billing.view_webhookendpoint"),
            ("Webhook deliveries", "outbox", "billing_webhookdelivery_changelist", "billing.view_webhookdelivery"),
            ("API keys", "key", "access_apikey_changelist", "access.view_apikey"),
            ("Operations", "sync_alt", "billing_operation_changelist", "billing.view_operation"),
            ("Processor events", "inbox", "billing_processorevent_changelist", "billing.view_processorevent"),
            ("Audit log", "history", "admin_logentry_changelist", "admin.view_logentry"),
            ("Staff", "badge", "auth_user_changelist", "auth.view_user"),
            ("Groups", "shield_person", "auth_group_changelist", "auth.view_group"),
        ),
    ]
    shown = []
    for group in groups:
        items = [item for item in group["items"] if not item["needs"] or request.user.has_perm(item["needs"])]
        if items:
            shown.append({**group, "items": items})
    return shown


def _group(title: str, *items: tuple[str, str, str, str]) -> dict[str, Any]:
    return {
        "title": title,
        "separator": bool(title),
        "items": [
            {"title": name, "icon": icon, "link": reverse(f"admin:{page}"), "needs": needs}
            for name, icon, page, needs in items
        ],
    }
