"""billing.*: attach, update, their previews, the portal and the adding of a card."""

import secrets
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from billing.api import billing_shapes, preview_shapes
from billing.api.billing_requests import (
    attach_request,
    multi_attach_request,
    schedule_request,
    scoped_updates,
    update_request,
)
from billing.api.billing_serializers import (
    AttachInput,
    MultiAttachInput,
    MultiUpdateInput,
    PortalInput,
    ScheduleInput,
    SetupPaymentInput,
    UpdateInput,
)
from billing.services import multiple, schedules, subscriptions
from billing.services.execution import checkouts
from billing.services.plan_changes import requests
from config import clock
from config.access.models import Scope
from config.api import Endpoint, Keyed
from entities.subject import Subject


class Attach(Endpoint):
    """Attach a plan to a customer or one of its entities."""

    Input = AttachInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        done = subscriptions.attach(subject=subject, request=attach_request(data, at), at=at, actor=self.actor)
        return billing_shapes.answer(subject, done)


class PreviewAttach(Endpoint):
    """What attaching would cost and change."""

    Input = AttachInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        outcome = subscriptions.preview_attach(subject=subject, request=attach_request(data, at), at=at)
        return preview_shapes.attach(subject, outcome)


class Update(Endpoint):
    """Change, cancel or uncancel a plan that is held."""

    Input = UpdateInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        done = subscriptions.update(subject=subject, request=update_request(data, at), at=at, actor=self.actor)
        return billing_shapes.answer(subject, done)


class PreviewUpdate(Endpoint):
    """What an update would cost and change."""

    Input = UpdateInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        outcome = subscriptions.preview_update(subject=subject, request=update_request(data, at), at=at)
        return preview_shapes.update(subject, outcome)


class MultiAttach(Endpoint):
    """Attach several plans, to the customer and its entities, on one invoice."""

    Input = MultiAttachInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject, at, asked = _several(data)
        done = multiple.attach(customer=subject.customer, request=asked, at=at, actor=self.actor)
        return billing_shapes.answer(subject, done)


class PreviewMultiAttach(Endpoint):
    """What attaching several plans would cost and change."""

    Input = MultiAttachInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject, at, asked = _several(data)
        outcome = multiple.preview_attach(customer=subject.customer, request=asked, at=at)
        return preview_shapes.attach(subject, outcome)


class CreateSchedule(Endpoint):
    """Attach plans that follow each other; the first phase starts now, the others at their instants."""

    Input = ScheduleInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        asked = schedule_request(data, subject, at)
        made = schedules.create(customer=subject.customer, request=asked, at=at, actor=self.actor)
        return billing_shapes.schedule(subject, asked, made)


class PreviewSchedule(Endpoint):
    """What a schedule would cost and change."""

    Input = ScheduleInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        at = subject.customer.now(clock.now())
        asked = schedule_request(data, subject, at)
        outcome = schedules.preview(customer=subject.customer, request=asked, at=at)
        return preview_shapes.attach(subject, outcome)


class MultiUpdate(Endpoint):
    """Cancel or uncancel several plans together."""

    Input = MultiUpdateInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject, at, updates = _updates(data)
        done = multiple.update(customer=subject.customer, updates=updates, at=at, actor=self.actor)
        return billing_shapes.answer(subject, done)


class PreviewMultiUpdate(Endpoint):
    """What several updates would cost and change, by subscription."""

    Input = MultiUpdateInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject, at, updates = _updates(data)
        parts = multiple.preview_update(customer=subject.customer, updates=updates, at=at)
        return preview_shapes.multi_update(subject, parts)


class OpenCustomerPortal(Endpoint):
    """The address of a page where the customer sees plans, invoices and the card."""

    Input = PortalInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"])
        key = f"portal-{secrets.token_hex(16)}"
        url = checkouts.portal_page(subject.customer, return_url=data["return_url"], key=key)
        return {"customer_id": subject.customer_id, "url": url}


class SetupPayment(Endpoint):
    """The address of a page for entering a card; with a plan, the checkout of that plan."""

    Input = SetupPaymentInput
    keyed = Keyed.LEASE

    def handle(self, data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        subject = Subject.get(data["customer_id"], data.get("entity_id"))
        if "plan_id" in data:
            at = subject.customer.now(clock.now())
            asked = attach_request({**data, "redirect_mode": "always"}, at)
            done = subscriptions.attach(subject=subject, request=asked, at=at, actor=self.actor)
            url = done.payment_url
        else:
            key = f"setup-{secrets.token_hex(16)}"
            url = checkouts.card_page(subject.customer, return_url=data["success_url"], key=key)
        return {"customer_id": subject.customer_id, "entity_id": subject.entity_id, "url": url}


def _several(data: dict[str, Any]) -> tuple[Subject, datetime, requests.MultiAttach]:
    subject = Subject.get(data["customer_id"], data.get("entity_id"))
    at = subject.customer.now(clock.now())
    return subject, at, multi_attach_request(data, subject, at)


def _updates(data: dict[str, Any]) -> tuple[Subject, datetime, list[requests.ScopedUpdate]]:
    subject = Subject.get(data["customer_id"], data.get("entity_id"))
    at = subject.customer.now(clock.now())
    return subject, at, scoped_updates(data, subject, at)
