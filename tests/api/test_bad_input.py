"""Whatever comes in, the answer is JSON that says what is wrong, nothing is half done, and never a 500."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Count, Sum

from billing.models import Balance, Hold, LedgerEntry, Subscription, UsageEvent
from entities.models import Customer, Entity
from tests.builders import MONTHLY, Account, item, limit, ms
from tests.client import Api

# As they stand in a request; what a JSON library of one's own would not write is among them.
JUNK = [
    "null", "true", "0", "-1", "1.5", "0.30000000000000004", "-0", "1e-30", "1e30", "1e400", "-1e400", "NaN",
    "123456789012345678901234567890", '""', '"  "', '"%s"' % ("x" * 300), '"%s"' % ("💥" * 5000), '"\\u0000"',
    '"\\ud800"', '"a\\nb"', '"2026-04-01"', '"../../etc"', "[]", "{}", "[null]", "[[]]", "[{}]", '{"a": {"b": []}}',
    "32503680000001", "[" * 70 + "]" * 70,
]  # fmt: skip

ALICE = {"customer_id": "acme", "entity_id": "alice"}
CALLS: dict[str, Any] = {
    "balances.check": {
        **ALICE,
        "feature_id": "messages",
        "required_balance": 1,
        "properties": {"model": "small"},
        "send_event": True,
        "with_preview": True,
        "lock": {"enabled": True, "lock_id": "new", "expires_at": ms("2026-04-01T12:00")},
    },
    "balances.track": {
        **ALICE,
        "feature_id": "messages",
        "value": 1,
        "properties": {"model": "small"},
        "timestamp": ms("2026-03-01"),
        "overage_behavior": "cap",
        "idempotency_key": "k",
        "async": True,
    },
    "balances.finalize": {"lock_id": "call", "action": "confirm", "override_value": 2, "properties": {"a": 1}},
    "balances.create": {
        **ALICE,
        "feature_id": "messages",
        "included_grant": 5,
        "balance_id": "new",
        "reset": {**MONTHLY, "interval_count": 2},
        "rollover": {"max": 5, "max_percentage": 50, "duration": "month", "length": 1},
        "next_reset_at": ms("2026-05-01"),
        "expires_at": ms("2027-05-01"),
    },
    "balances.update": {
        **ALICE,
        "feature_id": "messages",
        "remaining": 5,
        "included_grant": 9,
        "interval": "month",
        "next_reset_at": ms("2026-05-01"),
        "expires_at": ms("2027-05-01"),
    },
    "balances.delete": {"customer_id": "acme", "feature_id": "messages", "balance_id": "gift", "interval": "one_off"},
    "balances.recalculate": {**ALICE, "feature_id": "messages"},
    "balances.explain": {**ALICE, "feature_id": "messages", "required_balance": 1},
    "events.list": {
        **ALICE,
        "feature_id": "messages",
        "custom_range": {"start": 0, "end": 1},
        "start_cursor": "",
        "limit": 5,
        "offset": 0,
    },
    "events.aggregate": {
        **ALICE,
        "feature_id": ["messages"],
        "group_by": "properties.model",
        "bin_size": "day",
        "custom_range": {"start": ms("2026-03-01"), "end": ms("2026-04-02")},
        "filter_by": {"model": "small"},
        "max_groups": 5,
    },
    "entities.create": {
        "customer_id": "acme",
        "entity_id": "bob",
        "feature_id": "seats",
        "name": "Bob",
        "billing_controls": limit(5),
        "customer_data": {"name": "Acme", "email": "a@acme.example", "metadata": {"a": 1}},
    },
    "entities.get": {**ALICE, "expand": ["invoices"]},
    "entities.update": {**ALICE, "billing_controls": limit(5)},
    "entities.delete": ALICE,
    "entities.list": {
        "customer_id": "acme",
        "plans": [{"id": "free", "versions": [1]}],
        "search": "a",
        "limit": 5,
        "offset": 0,
        "start_cursor": "",
        "subscription_status": "active",
    },
    "customers.get_or_create": {
        "customer_id": "new",
        "name": "New",
        "email": "new@example.com",
        "fingerprint": "f",
        "metadata": {"a": 1},
        "send_email_receipts": True,
        "currency": "usd",
        "billing_controls": limit(5),
        "config": {"disable_pooled_balance": True},
        "expand": ["entities"],
    },
    "customers.get": {"customer_id": "acme", "expand": ["invoices", "entities", "invoice_previews"]},
    "customers.update": {"customer_id": "acme", "new_customer_id": "other", "name": "A", "metadata": {"a": [1]}},
    "customers.list": {
        "search": "a",
        "plans": [{"id": "free"}],
        "limit": 2,
        "sort_order": "asc",
        "created_at_range": {"start": 0, "end": ms("2027-01-01")},
    },
    "customers.delete": {"customer_id": "acme"},
    "invoices.list": {**ALICE, "status": ["paid"], "processor_types": ["stripe"], "limit": 5, "start_cursor": ""},
    "webhooks.create": {
        "id": "app",
        "url": "https://app.example/",
        "events": ["billing.updated"],
        "description": "The app",
        "disabled": False,
    },
    "sandbox.set_clock": {"customer_id": "acme", "now": ms("2026-04-02")},
    "check": {**ALICE, "feature_id": "messages", "required_quantity": 1},
    "track": {**ALICE, "feature_id": "messages", "value": 1},
    "customers/acme/entities": {"id": "bob", "feature_id": "seats", "name": "Bob"},
}
# What has to be there; anything else may be left out.
NEEDED = {
    "balances.check": {"customer_id", "feature_id"},
    "balances.track": {"customer_id"},
    "balances.finalize": {"lock_id", "action"},
    "balances.create": {"customer_id", "feature_id"},
    "balances.update": {"customer_id", "feature_id"},
    "balances.delete": {"customer_id"},
    "balances.recalculate": {"customer_id", "feature_id"},
    "entities.create": {"customer_id", "entity_id", "feature_id"},
    "entities.get": {"entity_id"},
    "entities.delete": {"entity_id"},
    "customers.get": {"customer_id"},
    "webhooks.create": {"id", "url"},
    "sandbox.set_clock": {"customer_id", "now"},
}


@pytest.fixture(scope="module")
def ready(stage: Api) -> Account:
    acme = Account(stage, since="2026-04-01")
    acme.hold(item("messages", 100), item("messages", 50, per="seats"), item("seats", 5))
    acme.join("alice")
    acme.grant("messages", 10, balance_id="gift")
    acme.lock(5, "call")
    return acme


@pytest.fixture
def acme(ready: Account, db: None) -> Account:
    """Acme on a plan, with Alice, a hold and a balance granted by hand."""
    return ready


def books() -> list[Any]:
    """All that a call may have changed, in figures."""
    sums = [Sum(column) for column in ("granted", "usage", "held", "expired")]
    return [
        Balance.objects.aggregate(Count("pk"), *sums),
        LedgerEntry.objects.aggregate(Count("pk"), *sums),
        *(model.objects.count() for model in (UsageEvent, Hold, Entity, Customer, Subscription)),
        *Customer.objects.order_by("pk").values_list("external_id", "name", "clock_at"),
    ]


@contextmanager
def undone() -> Iterator[None]:
    """Whatever the block did has not happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def mutations(body: Any) -> Iterator[tuple[str, str]]:
    """(the path of a field, the body as JSON text with junk in that place), field by field, junk by junk."""
    for at in paths(body):
        # Fields inside fields get a part of it: they are read by the same means.
        for junk in JUNK if "." not in at and "[" not in at else JUNK[::3]:
            yield at, written(body, "", at, junk)


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Where there is something in `value`: `plans`, `plans[0]`, `plans[0].id`."""
    if path:
        yield path
    for name, inner in inside(value, path):
        yield from paths(inner, name)


def inside(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
    return [(f"{path}[{number}]", inner) for number, inner in enumerate(value)] if isinstance(value, list) else []


def written(value: Any, path: str, at: str, junk: str) -> str:
    """`value` as JSON, except that `junk` stands at one place."""
    if path == at:
        return junk
    parts = [written(inner, name, at, junk) for name, inner in inside(value, path)]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {part}" for key, part in zip(value, parts, strict=True)) + "}"
    return f"[{', '.join(parts)}]" if isinstance(value, list) else json.dumps(value)


def assert_is_told(response: Any, sent: str) -> None:
    """The response is a success, or a refusal in the agreed shape."""
    assert response.status_code in (200, 202, 400, 402, 404, 409), (sent, response.content[:500])
    assert response["Content-Type"] == "application/json"
    if response.status_code >= 400:
        answer = json.loads(response.content)
        assert set(answer) == {"message", "code", "env"}, sent
        assert 5 < len(answer["message"]) <= 1000, (sent, answer)
        assert answer["message"][0].isupper() or "." in answer["message"] or " " in answer["message"]


@pytest.mark.parametrize("call", CALLS)
def test_junk_in_any_field_is_told_and_changes_nothing(acme: Account, call: str) -> None:
    before = books()
    with undone():
        fine = acme.api.send(call, CALLS[call])
        assert fine.status_code in (200, 202), fine.content
    for path, sent in mutations(CALLS[call]):
        with transaction.atomic():
            response = acme.api.send(call, sent.encode())
            assert_is_told(response, f"{call} {path}: {sent[:300]}")
            # Only what was answered with success is taken back: whatever a refusal left behind stays to be seen.
            transaction.set_rollback(response.status_code < 400)
    assert books() == before


def test_what_is_needed_is_named_when_it_is_missing(acme: Account) -> None:
    for call, needed in NEEDED.items():
        for field in CALLS[call]:
            with undone():
                response = acme.api.send(call, {key: value for key, value in CALLS[call].items() if key != field})
                assert_is_told(response, f"{call} without {field}")
                if field in needed:
                    answer = json.loads(response.content)
                    assert (response.status_code, answer["code"]) == (400, "invalid_inputs"), (call, field)
                    assert field in answer["message"]


WRONG: list[tuple[str, str, Any]] = [
    ("balances.check", "customer_id", 5),
    ("balances.check", "required_balance", "5"),
    ("balances.check", "lock", "yes"),
    ("balances.track", "value", "5"),
    ("balances.track", "value", True),
    ("balances.track", "timestamp", "2026-04-01"),
    ("balances.track", "properties", []),
    ("balances.track", "idempotency_key", 5),
    ("balances.create", "included_grant", "5"),
    ("balances.create", "unlimited", "yes"),
    ("balances.create", "reset", "month"),
    ("balances.update", "remaining", "5"),
    ("balances.update", "interval", "fortnight"),
    ("balances.finalize", "override_value", [5]),
    ("entities.create", "entity_id", 5),
    ("entities.create", "name", 5),
    ("entities.create", "billing_controls", []),
    ("customers.get_or_create", "metadata", "x"),
    ("customers.get_or_create", "send_email_receipts", "yes"),
    ("customers.list", "limit", 0),
    ("customers.list", "limit", 5001),
    ("events.list", "limit", 1.5),
    ("sandbox.set_clock", "now", "tomorrow"),
]


def test_a_wrong_type_is_refused_by_the_name_of_its_field(acme: Account) -> None:
    for call, field, junk in WRONG:
        answer = acme.api.refused(400, call, **{**CALLS[call], field: junk})
        assert (answer["code"], field in answer["message"]) == ("invalid_inputs", True), answer


def test_a_body_that_is_no_json_object_is_refused(acme: Account) -> None:
    for body in (b"", b"{", b"null", b"7", b'"text"', b"\xff\xfe\x00", b"[" * 100_000, b"{}" * 2, b"<xml/>", b"a=b"):
        for call in ("balances.check", "balances.track", "entities.create", "balances.batch_track"):
            response = acme.api.send(call, body)
            assert (response.status_code, json.loads(response.content)["code"]) == (400, "invalid_inputs")


def test_another_method_or_a_trailing_slash_is_no_call(acme: Account) -> None:
    for call, body in CALLS.items():
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            response = acme.api.send(call, body, method=method)
            assert (response.status_code in (404, 405), method) == (True, method), (call, response.content)
            assert_is_refusal(response)
        response = acme.api.send(f"{call}/", body)
        assert response.status_code == 404
        assert_is_refusal(response)


@pytest.mark.parametrize(("method", "status"), [("POST", 404), ("GET", 405), ("DELETE", 405), ("OPTIONS", 405)])
def test_a_webhook_that_nobody_awaits_is_refused_in_json(api: Api, method: str, status: int) -> None:
    response = api.send("webhooks/stripe", {}, method=method)
    assert response.status_code == status
    assert_is_refusal(response)


def assert_is_refusal(response: Any) -> None:
    assert set(json.loads(response.content)) == {"message", "code", "env"}


def test_another_content_type_is_refused(acme: Account) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = acme.api.send("balances.check", CALLS["balances.check"], content_type=content_type)
        assert response.status_code == 415
        assert_is_refusal(response)


def test_a_number_that_no_balance_can_hold_is_refused_and_the_sum_as_well(acme: Account) -> None:
    most = 99_999_999_999_999_999_999
    acme.grant("requests", most)
    assert acme.refused(400, "balances.create", feature_id="requests", included_grant=most + 1) == "invalid_inputs"
    acme.track(most, "requests", overage_behavior="overflow")
    before = books()
    refused = acme.refused(400, "balances.track", feature_id="requests", value=most, overage_behavior="overflow")
    assert refused == "invalid_inputs"
    assert books() == before
    # Two such grants can each be stored, and shown in one sum.
    acme.grant("requests", most)
    assert acme.balance("requests")["granted"] == 2 * most


@pytest.mark.parametrize("value", ["1e-10", "0.00000000005", "1e-30", "99999999999999999999.9999999999"])
def test_extreme_but_fair_numbers_work(acme: Account, value: str) -> None:
    body = f'{{"customer_id": "acme", "feature_id": "messages", "value": {value}}}'
    assert acme.api.send("balances.track", body.encode()).status_code == 200
    assert acme.api.send("balances.track", body.replace('e": ', 'e": -').encode()).status_code == 200


@pytest.mark.parametrize(
    "member", ["a/b", "a b", "ä", "💥", "%2e%2e", "'; DROP TABLE x; --", "a" * 255, "<b>", "..", "undefined"]
)
def test_any_text_can_be_an_id(acme: Account, member: str) -> None:
    acme.join(member)
    acme.track(3, by=member)
    assert acme.numbers(of=member) == (160, 152, 8)
    assert [event["entity_id"] for event in acme.events(entity_id=member)] == [member]
    acme.leave(member)
