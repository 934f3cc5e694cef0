"""Signed webhooks, delivered when a test says so: in order, late, doubled, reversed or never."""

import json
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

from stripe import WebhookSignature

from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.world import Thing, World

API_VERSION = "2026-10-28.endive"
SECRET = "whsec_fake"

# Takes the raw body and the signature header, answers with the HTTP status.
type Endpoint = Callable[[bytes, str], int]


class Webhooks:
    """What the account has to tell, and how it tells it."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def waiting(self) -> list[Thing]:
        return [row for row in self.world.events if not row["delivered"]]

    def deliver(
        self,
        endpoint: Endpoint,
        *,
        shuffled: random.Random | None = None,
        doubled: bool = False,
        only: str = "",
        secret: str = SECRET,
    ) -> list[int]:
        """Send what wasn't taken yet, and what follows from it, until there is nothing more; returns the statuses."""
        statuses: list[int] = []
        for _ in range(20):
            rows = [row for row in self.waiting if only in row["event"]["type"]]
            if not rows:
                break
            if shuffled is not None:
                shuffled.shuffle(rows)
            statuses += [self.send(row, endpoint, secret=secret) for row in rows * (2 if doubled else 1)]
            if all(status >= 300 for status in statuses[-len(rows) :]):
                break
        return statuses

    def send(self, row: Thing, endpoint: Endpoint, *, secret: str = SECRET) -> int:
        body = json.dumps(_public(row["event"]))
        signature = WebhookSignature.generate_signature_header(body, secret, int(time.time()))
        status = endpoint(body.encode(), signature)
        row["attempts"] += 1
        row["delivered"] = row["delivered"] or 200 <= status < 300
        return status

    def drop(self) -> int:
        """What wasn't delivered yet never will be."""
        lost = self.waiting
        for row in lost:
            row["delivered"] = True
        return len(lost)


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _public(inner) for name, inner in value.items() if not name.startswith("_")}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    return value


def create_endpoint(world: World, given: dict[str, Any]) -> Thing:
    if given.get("api_version") != API_VERSION:
        raise Refused(f"The fake sends {API_VERSION} only.", param="api_version")
    endpoint = {
        "url": given["url"],
        "enabled_events": given["enabled_events"],
        "api_version": given["api_version"],
        "status": "enabled",
        "created": world.now(),
        "secret": f"whsec_{secrets.token_hex(12)}",
    }
    return world.add("webhook_endpoint", endpoint)
