"""The webhook endpoint at Stripe, made for the API version that we speak."""

from billing.processors.failures import ProcessorRefused
from billing.processors.stripe.client import API_VERSION, Client
from billing.processors.stripe.events import KINDS


def create(client: Client, url: str) -> str:
    """Ask for webhooks at `url`; returns the signing secret, which Stripe tells only now."""
    for row in client.each(client.api.v1.webhook_endpoints.list, params={}):
        if row["url"] == url and row["status"] == "enabled":
            version = row.get("api_version")
            told = "its signing secret is on Stripe's dashboard" if version == API_VERSION else f"it is for {version}"
            raise ProcessorRefused(f"Stripe has an endpoint for {url} already: {told}. Delete it there to start over.")
    params = {"url": url, "enabled_events": sorted(KINDS), "api_version": API_VERSION, "description": "Subledger"}
    return str(client.call(client.api.v1.webhook_endpoints.create, params=params)["secret"])
