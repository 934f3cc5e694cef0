"""Balances watched through a change: which thresholds were crossed, and whether a limit was reached.

`begin` before, `end` after, with the balances locked in between, and the messages are in the same transaction as the
change. Where nobody listens, as the lock has told, `begin` gives None and nothing else is done. Grants, refills and
changes of plans are no usage and tell nothing; an entity that comes uses a seat.

Whose alerts go off: with an entity tracked, its own and those of the plans attached to it, judged by what it can draw
on; and always the customer's and its plans', judged by everything the customer and its entities hold. A limit is that
of whoever was tracked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q

from billing import alerts
from billing.alerts import Alert, Standing
from billing.controls import Controls
from billing.models import Subscription, WebhookType
from billing.services.balances import deciding, sources
from billing.services.balances.sources import NOBODY, Hears, Scope, SourceFeature, Sources, totals
from billing.services.webhooks import outbox
from billing.services.webhooks.listening import is_told
from entities.subject import Subject

ONE = Decimal(1)
# First key of an advisory lock; the second is the customer. Apart from that of billing.services.queue.
_NAMESPACE = 7_216
_LARGEST = 2**31
_HEARS = f"SELECT {is_told(WebhookType.LIMIT_REACHED)}, {is_told(WebhookType.USAGE_ALERT)}"


@dataclass(slots=True)
class Watch:
    """What somebody is told of, and how things stood before the change."""

    scope: Scope
    feature: str
    properties: Mapping[str, Any]
    hears: Hears
    own: list[Alert]
    shared: list[Alert]
    before: dict[str, Standing] = field(default_factory=dict)
    before_shared: dict[str, Standing] = field(default_factory=dict)


def hears() -> Hears:
    """Who listens now; locking balances tells it along the way."""
    with connection.cursor() as cursor:
        cursor.execute(_HEARS)
        return Hears(*cursor.fetchone())


def begin(found: Sources, properties: Mapping[str, Any], *, hears: Hears | None = None) -> Watch | None:
    """Look at locked balances before they change; None where nobody is told of anything.

    `hears` says who listens, where the balances come from a read that does not.
    """
    hears = hears or found.hears
    if not hears.limits and not (hears.alerts and found.scope.has_controls):
        return None
    watch = Watch(found.scope, found.feature.slug, properties, hears, [], [])
    if hears.alerts:
        watch.own, watch.shared = _alerts(found)
    if not hears.limits and not watch.own and not watch.shared:
        return None
    if watch.shared:
        _one_at_a_time(found.scope)
    if found.scope.entity_pk is not None:
        watch.before = _standings(found, properties)
    if found.scope.entity_pk is None or watch.shared:
        watch.before_shared = _standings(_read(watch, entity_id=None), properties)
    if found.scope.entity_pk is None:
        watch.before = watch.before_shared
    return watch


def look(subject: Subject, feature: str, *, at: datetime) -> Watch | None:
    """The same for a change that has locked its balances in another way; `at` is the customer's present."""
    listening = hears()
    if listening == NOBODY:
        return None
    found = sources.read(customer_id=subject.customer_id, entity_id=subject.entity_id, feature=feature, wall=at)
    return begin(found, {}, hears=listening)


def end(watch: Watch | None, after: Sources | None = None, *, cause: str) -> None:
    """Look at the balances of the same subject after the change (read here unless given), and write down what there is
    to tell. `cause` names the change: told once."""
    if watch is None:
        return
    scope = watch.scope
    standings = _standings(after or _read(watch, entity_id=scope.entity_id), watch.properties)
    for slug in watch.before.keys() & standings.keys():
        limit = alerts.limit_reached(watch.before[slug], standings[slug]) if watch.hears.limits else None
        if limit is not None:
            data = _whom(scope) | {"feature_id": slug, "limit_type": limit.value}
            _tell(watch, WebhookType.LIMIT_REACHED, data, f"{cause}:limit:{slug}")
    if scope.entity_pk is not None:
        _tell_alerts(watch, watch.own, watch.before, standings, _whom(scope), f"{cause}:entity")
    if watch.shared:
        whole = standings if scope.entity_pk is None else _standings(_read(watch, entity_id=None), watch.properties)
        whom = {"customer_id": scope.customer_id}
        _tell_alerts(watch, watch.shared, watch.before_shared, whole, whom, f"{cause}:customer")


def _alerts(found: Sources) -> tuple[list[Alert], list[Alert]]:
    """The alerts of the entity that is tracked, if it is one, and those of the customer."""
    scope = found.scope
    slugs = [feature.slug for feature in found.features]
    if not any("usage_alerts" in layer for layer in _layers(scope)):
        return [], []
    plans, own_plans = scope.plan_controls, list[Controls]()
    if scope.entity_pk is not None and plans:
        # The plans an entity can draw on are its own and its customer's; whose alert it is says who attached the plan.
        live = Subscription.objects.live().filter(customer=scope.customer_pk).exclude(billing_controls={})
        held = list(live.filter(Q(entity=None) | Q(entity=scope.entity_pk)).order_by("pk"))
        plans = [row.billing_controls for row in held if row.entity_id is None]
        own_plans = [row.billing_controls for row in held if row.entity_id is not None]
    own = [alert for slug in slugs for alert in alerts.in_force(slug, scope.entity_controls or {}, own_plans)]
    shared = [alert for slug in slugs for alert in alerts.in_force(slug, scope.customer_controls, plans)]
    return own, shared


def _layers(scope: Scope) -> Iterable[Controls]:
    return (scope.entity_controls or {}, scope.customer_controls, *scope.plan_controls)


def _one_at_a_time(scope: Scope) -> None:
    """Two entities' tracks lock different balances: each would see the sum without the other's, and neither cross.

    Taken after the balances and until the transaction ends, so that who waits here holds nobody up in a circle.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [_NAMESPACE, scope.customer_pk % _LARGEST])


def _read(watch: Watch, *, entity_id: str | None) -> Sources:
    """What an entity can draw on, or all that the customer and its entities hold."""
    scope = watch.scope
    return sources.read(customer_id=scope.customer_id, entity_id=entity_id, feature=watch.feature, wall=scope.at)


def _standings(found: Sources, properties: Mapping[str, Any]) -> dict[str, Standing]:
    """How the tracked feature stands, and each credit system that may have paid for it."""
    return {
        feature.slug: _standing(found, feature, properties)
        for feature in found.features
        if found.of(feature) and not feature.is_boolean
    }


def _standing(found: Sources, feature: SourceFeature, properties: Mapping[str, Any]) -> Standing:
    if not feature.is_own:
        found = Sources(found.scope, [replace(feature, cost=ONE, is_own=True)], found.of(feature))
    verdict = deciding.decide(found, ONE, properties)
    return Standing(*totals(found.of(feature)), verdict.refused_by)


def _tell_alerts(
    watch: Watch,
    in_force: list[Alert],
    before: Mapping[str, Standing],
    after: Mapping[str, Standing],
    whom: Mapping[str, str],
    cause: str,
) -> None:
    for slug in before.keys() & after.keys():
        of_feature = [alert for alert in in_force if alert.feature == slug]
        for alert in alerts.crossed(of_feature, before[slug], after[slug]):
            told = {"threshold": alert.threshold, "threshold_type": alert.type.value}
            named = {"name": alert.name} if alert.name else {}
            data = {**whom, "feature_id": slug, "usage_alert": named | told}
            what = f"{cause}:{slug}:{alert.type}:{alert.threshold.normalize():f}:{alert.name}"
            _tell(watch, WebhookType.USAGE_ALERT, data, what)


def _tell(watch: Watch, kind: WebhookType, data: Mapping[str, Any], cause: str) -> None:
    scope = watch.scope
    outbox.write(kind, data, cause=cause[:300], at=scope.at, customer_pk=scope.customer_pk)


def _whom(scope: Scope) -> dict[str, str]:
    entity = {"entity_id": scope.entity_id} if scope.entity_id is not None else {}
    return {"customer_id": scope.customer_id, **entity}
