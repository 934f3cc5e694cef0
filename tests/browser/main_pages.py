"""The main pages, with the data of both stories in them."""

from decimal import Decimal

from django.urls import reverse

from billing.admin.actions.base import link
from billing.models import BulkJob, Invoice, WebhookDelivery
from billing.services import bulk, moves
from billing.services.webhooks import endpoints, sending
from billing.services.webhooks.endpoints import Terms
from config import clock
from config.actor import Actor
from plans.api import in_use
from plans.catalog import versions
from plans.catalog.versions import Editing
from plans.models import Plan
from tests.admin import stories


def addresses() -> dict[str, str]:
    """Each with the name of its picture."""
    acme, globex = stories.team(), stories.workspaces()
    for name in ("Carol", "Dave", "Erin"):
        stories.member_of(acme, name.lower(), "seats", name)
    stories.use(acme, "bob", "summaries", 12)
    stories.use(acme, "carol", "summaries", 46)
    alice = stories.entity(acme, "alice")
    invoice = Invoice.objects.filter(customer=acme).shown().latest("total")
    endpoint = endpoints.create("app", Terms("http://127.0.0.1:9/webhooks", description="The app"), at=clock.now())
    stories.use(acme, "bob", "summaries", 38)  # the last of his
    sending.deliver_due()
    delivery = WebhookDelivery.objects.get()
    return {
        "home": reverse("admin:index"),
        "customers": reverse("admin:entities_customer_changelist"),
        "customer": reverse("admin:entities_customer_change", args=[acme.pk]),
        "seat": reverse("admin:entities_entity_change", args=[alice.pk]),
        "balance": reverse("admin:billing_balance_change", args=[stories.balance(acme, "bob").pk]),
        "remove": link("remove-seat", acme, entity=alice),
        "grant": link("grant", acme, entity=alice),
        "invoice": reverse("admin:billing_invoice_change", args=[invoice.pk]),
        "plan": reverse("admin:plans_plan_change", args=[Plan.objects.get(slug="team").pk]),
        "usage": reverse("admin:usage"),
        "import": reverse("admin:import"),
        "catalogue": reverse("admin:catalogue-import"),
        "job": reverse("admin:job", args=[move().pk]),
        "webhooks": reverse("admin:billing_webhookendpoint_change", args=[endpoint.pk]),
        "webhook": reverse("admin:billing_webhookdelivery_change", args=[delivery.pk]),
        "add-webhook": reverse("admin:webhook-add", args=["add"]),
        "cancel": link("cancel-plan", globex, subscription=stories.plan_of(globex, "workspace_b")),
    }


def move() -> BulkJob:
    """A dry run of moving workspaces to a dearer Pro."""
    versions.update(
        plan_id="workspace_pro",
        changes={"price_amount": Decimal(26)},
        editing=Editing(),
        holdings=in_use,
        at=stories.NOVEMBER,
    )
    newest = Plan.objects.get(slug="workspace_pro", is_latest=True)
    job = moves.begin(plan=newest, versions=[1], actor=Actor("staff:anna", "job"), at=stories.NOVEMBER)
    bulk.work(job)
    return job
