"""The fake's front door: routes, parameter checks, idempotency, pages of lists, expansions."""

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stripe import params as shapes
from stripe.params import billing_portal as portal_shapes
from stripe.params import checkout as checkout_shapes
from stripe.params import test_helpers as clock_shapes

from tests.processors.fake_stripe import charges, customers, invoices, params, sessions, subscriptions, timing, webhooks
from tests.processors.fake_stripe.errors import Refused
from tests.processors.fake_stripe.faults import Fault, Faults
from tests.processors.fake_stripe.world import Thing, World

KEY = "sk_test_fake"


class Lost(Exception):
    """The network took the request or the reply."""


@dataclass(slots=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


class FakeStripe:
    """A Stripe account. What customers, banks and time do has methods of its own, apart from the wire."""

    def __init__(self) -> None:
        self.world = World()
        self.faults = Faults()
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.lock = threading.RLock()
        self.late = 0  # seconds that renewals come after their time
        self.webhooks = webhooks.Webhooks(self.world)
        self._kept: dict[str, tuple[str, Answer]] = {}

    @contextmanager
    def again(self) -> Iterator[None]:
        """What happens in the block has not happened afterwards, but for products: who made them remembers them."""
        before = copy.deepcopy((self.world.things, self.world.events, self._kept))
        yield
        before[0]["product"] = self.world.things["product"]
        self.world.things, self.world.events, self._kept = before

    # -- the wire --

    def answer(self, method: str, path: str, form: str, headers: dict[str, str]) -> Answer:
        """One request; raises Lost when nothing comes back."""
        with self.lock:
            fault = self.faults.strike(method, path)
            broken = self._broken(fault)
            if broken is not None:
                if fault is Fault.STICKY_SERVER_ERROR and headers.get("idempotency-key"):
                    self._kept[headers["idempotency-key"]] = (f"{method} {path} {form}", broken)
                return broken
            found = self._once(method, path, form, headers)
            if fault is Fault.LOST_REPLY:
                raise Lost(fault)
            return found

    def _broken(self, fault: Fault | None) -> Answer | None:
        if fault is Fault.TIMEOUT:
            raise Lost(fault)
        errors = {
            Fault.RATE_LIMIT: (
                429,
                "invalid_request_error",
                "rate_limit",
                "Too many requests hit the API too quickly.",
            ),
            Fault.LOCKED: (429, "invalid_request_error", "lock_timeout", "This object is locked by another request."),
            Fault.SERVER_ERROR: (500, "api_error", None, "An unknown error occurred."),
            Fault.STICKY_SERVER_ERROR: (500, "api_error", None, "An unknown error occurred."),
            Fault.KEY_IN_USE: (409, "idempotency_error", "idempotency_key_in_use", "There is an earlier request."),
            Fault.FORBIDDEN: (403, "invalid_request_error", None, "The key does not have the required permissions."),
            Fault.UNAUTHORIZED: (401, "invalid_request_error", None, "Invalid API Key provided."),
        }
        if fault is None or fault not in errors:
            return None
        status, kind, code, message = errors[fault]
        return _refused(Refused(message, status=status, kind=kind, code=code))

    def _once(self, method: str, path: str, form: str, headers: dict[str, str]) -> Answer:
        if headers.get("authorization") != f"Bearer {KEY}":
            return _refused(Refused("Invalid API Key provided.", status=401))
        if headers.get("stripe-version") != webhooks.API_VERSION:
            return _refused(Refused(f"The fake speaks {webhooks.API_VERSION} only."))
        key = headers.get("idempotency-key") if method != "GET" else None
        asked = f"{method} {path} {form}"
        if key is not None and key in self._kept:
            before, kept = self._kept[key]
            if before != asked:
                message = f"Keys for idempotent requests can only be used with the same parameters: {key}"
                return _refused(Refused(message, kind="idempotency_error"))
            return Answer(kept.status, kept.body, {**kept.headers, "Idempotent-Replayed": "true"})
        if key is not None and len(key) > 255:
            return _refused(Refused("Idempotency keys have up to 255 characters."))
        timing.pass_time(self.world, self.world.now() - self.late)
        self.world.request_key = key
        try:
            found = self._do(method, path, form)
        except Refused as refused:
            found = _refused(refused)
        finally:
            self.world.request_key = None
        # Bad parameters don't use a key up; what was begun does, refusals of the bank too.
        if key is not None and found.status in (200, 402):
            self._kept[key] = (asked, found)
        return found

    def _do(self, method: str, path: str, form: str) -> Answer:
        for route in ROUTES:
            match = re.fullmatch(route.pattern, path)
            if match is None or route.method != method:
                continue
            given = params.read(form, route.shape)
            self.calls.append((method, path, copy.deepcopy(given)))
            expand = given.pop("expand", [])
            found = route.do(self.world, *match.groups(), given)
            return Answer(200, _shown(self.world, found, expand), {"Request-Id": "req_fake"})
        raise Refused(f"Unrecognized request URL ({method}: {path}).", status=404)

    def forget_keys(self) -> None:
        """A day has passed."""
        self._kept.clear()

    # -- what isn't asked for over the wire --

    def set_wall(self, at: int) -> None:
        """Let time pass until `at` for customers without a test clock."""
        with self.lock:
            if self.world.wall is None:
                self.world.wall = at
            else:
                timing.pass_time(self.world, at)
                self.world.wall = at

    def give_card(self, customer: str, token: str | None) -> None:
        """The customer replaces (None: removes) the card, on the portal say."""
        with self.lock:
            if token is None:
                card = customers.card_of(self.world, customer)
                if card:
                    customers.detach_card(self.world, card["id"])
                return
            card = customers.attach_card(self.world, token, customer)
            customers.update(self.world, customer, {"invoice_settings": {"default_payment_method": card["id"]}})

    def complete_session(self, session: str, card: str = "pm_card_visa") -> None:
        """The customer fills in a hosted page."""
        with self.lock:
            sessions.complete(self.world, session, card)

    def settle(self, invoice: str) -> None:
        """The customer pays an invoice on its page."""
        with self.lock:
            invoices.settle_on_page(self.world, invoice)

    def cancel(self, subscription: str, *, at_period_end: bool = False) -> None:
        """Somebody cancels on Stripe's dashboard."""
        with self.lock:
            if at_period_end:
                subscriptions.update(
                    self.world, subscription, {"cancel_at_period_end": True, "proration_behavior": "none"}
                )
            else:
                subscriptions.cancel(self.world, subscription, {})

    def paid(self, customer: str) -> int:
        """What the customer's cards were charged in all, refunds taken off, in minor units."""
        taken = sum(intent["amount_received"] for intent in self.world.all("payment_intent", customer=customer))
        return int(taken - sum(row["amount"] for row in self.world.all("refund", customer=customer)))


def _refused(refused: Refused) -> Answer:
    return Answer(refused.status, refused.body, {"Request-Id": "req_fake"})


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: str
    shape: Any
    do: Callable[..., Any]


def _keeper(kind: str) -> Callable[[World, str, dict[str, Any]], Thing]:
    return lambda world, key, given: world.get(kind, key)


def _lister(kind: str, *filters: str) -> Callable[[World, dict[str, Any]], Thing]:
    def do(world: World, given: dict[str, Any]) -> Thing:
        unknown = given.keys() - {"limit", "starting_after", "created", "status", *filters}
        if unknown:
            raise Refused(f"The fake can't filter {kind} by {unknown}.")
        rows = [
            row
            for row in reversed(list(world.all(kind)))
            if all(_field(row, name) == given[name] for name in filters if name in given)
        ]
        status = given.get("status")
        if kind == "subscription" and status != "all":
            rows = [row for row in rows if row["status"] != "canceled" and status in (None, row["status"])]
        elif status not in (None, "all"):
            rows = [row for row in rows if row["status"] == status]
        created = given.get("created") or {}
        rows = [row for row in rows if row["created"] >= created.get("gte", 0)]
        if "starting_after" in given:
            keys = [row["id"] for row in rows]
            rows = rows[keys.index(given["starting_after"]) + 1 :]
        limit = given.get("limit", 10)
        return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit, "url": f"/v1/{kind}s"}

    return do


def _field(row: Thing, name: str) -> Any:
    if name == "subscription" and row["object"] == "invoice":
        return invoices.subscription_of(row)
    if name == "type":
        return row.get("type")
    return row.get(name)


def _shown(world: World, found: Thing, expand: list[str]) -> dict[str, Any]:
    """The thing as the wire shows it: our own fields left out, what was asked for expanded."""
    raw = copy.deepcopy(found)
    rows = raw["data"] if raw.get("object") == "list" else [raw]
    for path in expand:
        inner = path.removeprefix("data.") if raw.get("object") == "list" else path
        for row in rows:
            _expand(world, row, inner)
    for row in rows:
        row.pop("payments", None) if "_payments" not in row else None
    shown: dict[str, Any] = json.loads(json.dumps(_public(raw)))
    return shown


def _expand(world: World, row: Thing, path: str) -> None:
    expandable: dict[str, Callable[[], Any]] = {
        "payments": lambda: {"object": "list", "data": copy.deepcopy(row["_payments"]), "has_more": False, "url": ""},
        "payment_intent": lambda: world.things["payment_intent"].get(row["payment_intent"]),
        "setup_intent": lambda: world.things["setup_intent"].get(row["setup_intent"]),
        "invoice": lambda: copy.deepcopy(world.things["invoice"].get(row["invoice"])),
    }
    if path == "invoice_settings.default_payment_method":
        key = row["invoice_settings"]["default_payment_method"]
        row["invoice_settings"]["default_payment_method"] = world.things["payment_method"].get(key)
    elif path in expandable:
        row[path] = expandable[path]()
    elif path.split(".", 1)[0] in expandable:
        first, rest = path.split(".", 1)
        if not isinstance(row.get(first), dict):
            row[first] = expandable[first]()
        if row[first]:
            _expand(world, row[first], rest)
    else:
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _public(inner) for name, inner in value.items() if not name.startswith("_")}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    return value


def _attach(world: World, key: str, given: dict[str, Any]) -> Thing:
    return customers.attach_card(world, key, given["customer"])


def _finalize(world: World, key: str, given: dict[str, Any]) -> Thing:
    return invoices.finalize(world, key, auto_advance=given.get("auto_advance"))


def _advance(world: World, key: str, given: dict[str, Any]) -> Thing:
    return timing.advance_clock(world, key, given["frozen_time"])


def _pay(world: World, key: str, given: dict[str, Any]) -> Thing:
    if given.keys() - {"off_session", "payment_method"}:
        raise Refused("The fake knows payments with off_session and payment_method.")
    card = world.get("payment_method", given["payment_method"]) if "payment_method" in given else None
    try:
        return invoices.pay(world, key, off_session=given.get("off_session", False), card=card)
    except Refused:
        timing.mark_past_due(world, world.get("invoice", key))
        raise


def _send(world: World, key: str, given: dict[str, Any]) -> Thing:
    invoice = world.get("invoice", key)
    if invoice["collection_method"] != "send_invoice" or invoice["status"] != "open":
        raise Refused("You can only send open invoices whose collection_method is send_invoice.")
    world.tell("invoice.sent", invoice)
    return invoice


def _mark(world: World, key: str, given: dict[str, Any]) -> Thing:
    if given.keys() - {"metadata"}:
        raise Refused("The fake knows new metadata for invoices, no more.")
    invoice = world.get("invoice", key)
    invoice["metadata"] |= given["metadata"]
    return invoice


def _balance_transactions(world: World, key: str, given: dict[str, Any]) -> Thing:
    return _lister("customer_balance_transaction", "customer")(world, {**given, "customer": key})


_BALANCE_SHAPES = (shapes.CustomerBalanceTransactionCreateParams, shapes.CustomerBalanceTransactionListParams)
_ID = r"([A-Za-z0-9_-]+)"


def _by_id(do: Callable[[World, str], Any]) -> Callable[[World, str, dict[str, Any]], Any]:
    """A call that takes nothing but the id in its path."""
    return lambda world, key, given: do(world, key)


def _retrieve(path: str, kind: str, shape: Any) -> Route:
    return Route("GET", path, shape, _keeper(kind))


_CUSTOMERS = "/v1/customers"
_CARDS = "/v1/payment_methods"
_INVOICES = "/v1/invoices"
_SUBSCRIPTIONS = "/v1/subscriptions"
_SESSIONS = "/v1/checkout/sessions"
_CLOCKS = "/v1/test_helpers/test_clocks"
ROUTES = [
    Route("POST", _CUSTOMERS, shapes.CustomerCreateParams, customers.create),
    Route("GET", _CUSTOMERS, shapes.CustomerListParams, _lister("customer", "email")),
    _retrieve(f"{_CUSTOMERS}/{_ID}", "customer", shapes.CustomerRetrieveParams),
    Route("POST", f"{_CUSTOMERS}/{_ID}", shapes.CustomerUpdateParams, customers.update),
    Route("DELETE", f"{_CUSTOMERS}/{_ID}", shapes.CustomerDeleteParams, _by_id(customers.delete)),
    Route("POST", f"{_CUSTOMERS}/{_ID}/balance_transactions", _BALANCE_SHAPES[0], customers.move_balance),
    Route("GET", f"{_CUSTOMERS}/{_ID}/balance_transactions", _BALANCE_SHAPES[1], _balance_transactions),
    Route("GET", _CARDS, shapes.PaymentMethodListParams, _lister("payment_method", "customer", "type")),
    _retrieve(f"{_CARDS}/{_ID}", "payment_method", shapes.PaymentMethodRetrieveParams),
    Route("POST", f"{_CARDS}/{_ID}/attach", shapes.PaymentMethodAttachParams, _attach),
    Route("POST", f"{_CARDS}/{_ID}/detach", shapes.PaymentMethodDetachParams, _by_id(customers.detach_card)),
    Route("POST", "/v1/products", shapes.ProductCreateParams, customers.create_product),
    _retrieve(f"/v1/products/{_ID}", "product", shapes.ProductRetrieveParams),
    Route("POST", _INVOICES, shapes.InvoiceCreateParams, invoices.create),
    Route("GET", _INVOICES, shapes.InvoiceListParams, _lister("invoice", "customer", "subscription")),
    _retrieve(f"{_INVOICES}/{_ID}", "invoice", shapes.InvoiceRetrieveParams),
    Route("DELETE", f"{_INVOICES}/{_ID}", shapes.InvoiceDeleteParams, _by_id(invoices.delete)),
    Route("POST", f"{_INVOICES}/{_ID}", shapes.InvoiceUpdateParams, _mark),
    Route("POST", f"{_INVOICES}/{_ID}/add_lines", shapes.InvoiceAddLinesParams, invoices.add_lines),
    Route("POST", f"{_INVOICES}/{_ID}/finalize", shapes.InvoiceFinalizeInvoiceParams, _finalize),
    Route("POST", f"{_INVOICES}/{_ID}/send", shapes.InvoiceSendInvoiceParams, _send),
    Route("POST", f"{_INVOICES}/{_ID}/pay", shapes.InvoicePayParams, _pay),
    Route("POST", f"{_INVOICES}/{_ID}/void", shapes.InvoiceVoidInvoiceParams, _by_id(invoices.void)),
    Route("POST", "/v1/invoiceitems", shapes.InvoiceItemCreateParams, invoices.create_item),
    Route("GET", "/v1/charges", shapes.ChargeListParams, charges.charges),
    Route("GET", "/v1/invoice_payments", shapes.InvoicePaymentListParams, charges.payments),
    Route("POST", "/v1/refunds", shapes.RefundCreateParams, charges.refund),
    Route("GET", "/v1/refunds", shapes.RefundListParams, _lister("refund", "payment_intent")),
    Route("POST", _SUBSCRIPTIONS, shapes.SubscriptionCreateParams, subscriptions.create),
    Route("GET", _SUBSCRIPTIONS, shapes.SubscriptionListParams, _lister("subscription", "customer")),
    _retrieve(f"{_SUBSCRIPTIONS}/{_ID}", "subscription", shapes.SubscriptionRetrieveParams),
    Route("POST", f"{_SUBSCRIPTIONS}/{_ID}", shapes.SubscriptionUpdateParams, subscriptions.update),
    Route("DELETE", f"{_SUBSCRIPTIONS}/{_ID}", shapes.SubscriptionCancelParams, subscriptions.cancel),
    Route("POST", _SESSIONS, checkout_shapes.SessionCreateParams, sessions.create),
    Route("GET", _SESSIONS, checkout_shapes.SessionListParams, _lister("checkout.session", "customer")),
    _retrieve(f"{_SESSIONS}/{_ID}", "checkout.session", checkout_shapes.SessionRetrieveParams),
    Route("POST", f"{_SESSIONS}/{_ID}/expire", checkout_shapes.SessionExpireParams, _by_id(sessions.expire)),
    Route("POST", "/v1/billing_portal/sessions", portal_shapes.SessionCreateParams, sessions.portal),
    Route("POST", _CLOCKS, clock_shapes.TestClockCreateParams, timing.create_clock),
    Route("GET", f"{_CLOCKS}/{_ID}", clock_shapes.TestClockRetrieveParams, _by_id(timing.read_clock)),
    Route("POST", f"{_CLOCKS}/{_ID}/advance", clock_shapes.TestClockAdvanceParams, _advance),
    Route("POST", "/v1/webhook_endpoints", shapes.WebhookEndpointCreateParams, webhooks.create_endpoint),
    Route("GET", "/v1/webhook_endpoints", shapes.WebhookEndpointListParams, _lister("webhook_endpoint")),
]
