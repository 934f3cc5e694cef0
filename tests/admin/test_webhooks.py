"""Webhook endpoints and deliveries as staff see them: who may do what, secrets, and sending again."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin.webhooks.steps import STEPS
from billing.models import WebhookDelivery, WebhookEndpoint, WebhookType
from billing.services.webhooks import endpoints, outbox, sending
from billing.services.webhooks.endpoints import Terms
from config import clock
from tests.admin.stories import Staff
from tests.webhooks.receiver import receiving

MAY = {"Read only": set(), "Support": {"test"}, "Billing": set(STEPS)}
DELIVERIES = reverse("admin:billing_webhookdelivery_changelist")
ENDPOINTS = reverse("admin:billing_webhookendpoint_changelist")


@pytest.fixture
def endpoint(db: None) -> WebhookEndpoint:
    return endpoints.create("app", Terms("http://127.0.0.1:9/hooks", description="The app"), at=clock.now())


def step(slug: str, endpoint: WebhookEndpoint | None = None) -> str:
    if endpoint is None:
        return reverse("admin:webhook-add", args=[slug])
    return reverse("admin:webhook-step", args=[slug, endpoint.pk])


def page(endpoint: WebhookEndpoint) -> str:
    return reverse("admin:billing_webhookendpoint_change", args=[endpoint.pk])


def state(endpoint: WebhookEndpoint) -> str:
    endpoint.refresh_from_db()
    return endpoint.updated_at.isoformat()


def tell(number: int = 1) -> None:
    for cause in range(number):
        outbox.write(WebhookType.LIMIT_REACHED, {"feature_id": "summaries"}, cause=f"{cause}", at=clock.now())


def test_an_endpoint_is_added_tried_and_gets_another_secret(staff: Staff) -> None:
    with receiving() as receiver:
        assert "Add an endpoint." in staff.get(ENDPOINTS)
        shown = staff.post(
            step("add"), public_id="app", url=receiver.url, events=["balances.limit_reached"], reason="The app wants it"
        )
        endpoint = WebhookEndpoint.objects.get()
        assert endpoint.secret in shown
        assert endpoint.events == ["balances.limit_reached"]
        assert endpoint.secret not in staff.get(page(endpoint))
        staff.post(step("test", endpoint), state=state(endpoint), reason="Does it work?", status=302)
        receiver.secret = endpoint.secret
        sending.deliver_due()
        assert receiver.came[0]["type"] == "webhook.test"
        assert "Delivered" in staff.get(page(endpoint))
        new = staff.post(step("roll", endpoint), state=state(endpoint), reason="It leaked")
        endpoint.refresh_from_db()
        assert endpoint.secret in new
        assert endpoint.previous_secret == receiver.secret
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["app"] * 3
    assert "It leaked" in staff.get(page(endpoint))


def test_a_secret_is_shown_again_for_a_password(staff: Staff, endpoint: WebhookEndpoint) -> None:
    User.objects.update(last_login=clock.now() - timedelta(hours=1))
    for password in ("", "wrong"):
        asked = staff.post(step("secret", endpoint), state=state(endpoint), reason="Lost it", password=password)
        assert endpoint.secret not in asked
        assert "Your password, once more" in asked
    response = staff.client.post(
        step("secret", endpoint), {"state": state(endpoint), "reason": "Lost it", "password": "secret"}
    )
    assert endpoint.secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]


def test_an_endpoint_is_edited_disabled_enabled_and_removed(staff: Staff, endpoint: WebhookEndpoint) -> None:
    staff.post(step("change", endpoint), state=state(endpoint), url="http://127.0.0.1:9/b", reason="Moved", status=302)
    staff.post(step("disable", endpoint), state=state(endpoint), reason="Noisy", status=302)
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.disabled_at is None) == ("http://127.0.0.1:9/b", False)
    assert "Disabled" in staff.get(ENDPOINTS)
    staff.post(step("enable", endpoint), state=state(endpoint), reason="Again", status=302)
    tell()
    staff.post(step("remove", endpoint), state=state(endpoint), reason="Gone", status=302)
    assert "The app" not in staff.get(ENDPOINTS)
    assert "Removed" in staff.get(page(endpoint))
    staff.get(step("enable", endpoint), status=404)


def test_what_was_changed_meanwhile_is_looked_at_again(staff: Staff, endpoint: WebhookEndpoint) -> None:
    before = state(endpoint)
    endpoints.roll_secret("app", at=clock.now() + timedelta(seconds=1))
    assert "Things have moved" in staff.post(step("roll", endpoint), state=before, reason="It leaked", status=409)


@pytest.mark.parametrize("url", ["nothing", "ftp://example.com/", "http://a:b@example.com/"])
def test_an_address_that_makes_no_sense_is_told(staff: Staff, url: str) -> None:
    assert "url" in staff.post(step("add"), public_id="app", url=url, reason="Try", status=409)


@pytest.mark.parametrize("group", list(MAY))
def test_each_group_may_do_what_it_is_for(member: Any, endpoint: WebhookEndpoint, group: str) -> None:
    user = member(group)
    allowed = set()
    for slug in STEPS:
        url = step(slug, None if slug == "add" else endpoint)
        answers = {user.client.get(url).status_code, user.client.post(url, {}).status_code}
        assert answers in ({200}, {403})
        if answers == {200}:
            allowed.add(slug)
    assert allowed == MAY[group]
    tell()
    shown = user.get(reverse("admin:billing_webhookdelivery_change", args=[WebhookDelivery.objects.get().pk]))
    assert ("Send again" in shown) == (group != "Read only")
    assert ("Roll the secret" in user.get(page(endpoint))) == (group == "Billing")


@pytest.mark.parametrize(("group", "came"), [("Read only", 2), ("Support", 4)])
def test_one_or_many_are_sent_again(member: Any, group: str, came: int, db: None) -> None:
    with receiving() as receiver:
        receiver.listen()
        receiver.answers = [410, 200]
        tell(2)
        sending.deliver_due()
        again = {"action": "send_again", "_selected_action": list(WebhookDelivery.objects.values_list("pk", flat=True))}
        member(group).client.post(DELIVERIES, again)
        sending.deliver_due()
        assert len(receiver.came) == came


def test_home_says_which_need_a_person(staff: Staff, endpoint: WebhookEndpoint) -> None:
    tell()
    sending.deliver_due()
    assert "webhook" not in staff.get(reverse("admin:index")).split("What needs a person")[1].split("</section>")[0]
    with clock.frozen(clock.now() + timedelta(hours=2)):
        assert "1 webhook endpoint has been failing for more than an hour" in staff.get(reverse("admin:index"))
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None)
    assert "1 webhook delivery was given up" in staff.get(reverse("admin:index"))


def test_a_delivery_shows_what_was_sent_and_answered(staff: Staff) -> None:
    with receiving() as receiver:
        receiver.listen()
        receiver.answers = [503]
        tell()
        sending.deliver_due()
    shown = staff.get(reverse("admin:billing_webhookdelivery_change", args=[WebhookDelivery.objects.get().pk]))
    assert "503" in shown
    assert "as you say" in shown
    assert '"feature_id": "summaries"' in shown
    assert "Next attempt" in shown


def test_the_lists_take_as_many_statements_for_many_rows(staff: Staff, endpoint: WebhookEndpoint) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            staff.get(DELIVERIES)
            staff.get(page(endpoint))
        return len(captured)

    tell(1)
    few = statements()
    tell(30)
    assert statements() == few
