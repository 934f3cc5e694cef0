"""A computed billing change in words, money and balances: what previews show."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing import proration
from billing.admin.actions.base import Bill, MoneyLine, Preview
from billing.models import Balance, Subscription
from billing.outcomes import Outcome
from billing.proration import Line
from billing.templatetags.shown import money, quantity
from config.journal import Movement
from entities.models import Entity
from plans import wording
from plans.models import ItemTerms

ZERO = Decimal(0)


def preview(outcome: Outcome) -> Preview:
    """What the change comes to."""
    shown = Preview()
    for end in outcome.ends:
        shown.sentences.append(f"{end.subscription} ends now.")
        shown.movements += lost(end.subscription)
    for start in outcome.starts:
        shown.sentences.append(f"{start.holding.subscription.plan} starts now.")
        shown.movements += gained(start.holding.items)
    for holding in outcome.schedules:
        shown.sentences.append(f"{holding.subscription.plan} starts on {date(holding.subscription.started_at)}.")
    for cancellation in outcome.cancellations:
        plan = cancellation.subscription.plan
        shown.sentences.append(
            f"{plan} ends on {date(cancellation.ends_at)}. Until then nothing changes."
            if cancellation.ends_at is not None
            else f"{plan} goes on: its cancellation is taken back."
        )
    shown.sentences += [f"{row.plan}, which was scheduled, will not start." for row in outcome.deletes]
    shown.sentences += [f"{row.plan} pauses." for row in outcome.pauses]
    shown.sentences += [f"{row.plan} resumes." for row in outcome.resumes]
    for change in outcome.quantities:
        when = "with the next renewal" if change.at_renewal else "now"
        shown.sentences.append(f"{change.item.feature}: {quantity(change.quantity)} in all, {when}.")
    if outcome.checkout is not None:
        shown.warnings.append(
            "The customer has no card on file. A payment page is opened instead, and nothing changes until it is paid."
        )
    shown.bills = bills(outcome)
    shown.amount = abs(outcome.total) + (outcome.refund or ZERO)
    if outcome.refund:
        shown.sentences.append(f"{money(outcome.refund, outcome.currency)} goes back to the card.")
    return shown


def bills(outcome: Outcome) -> list[Bill]:
    """What is charged now, what waits for the next invoice, and that invoice as far as it is known."""
    found = []
    if outcome.lines or outcome.leaves_invoice:
        title = "Charged now" if outcome.total >= 0 else "Credited now"
        found.append(bill(title, outcome.lines, outcome.currency))
    if outcome.waiting:
        found.append(bill("Added to the next invoice", outcome.waiting, outcome.currency))
    if outcome.next_cycle is not None and outcome.next_cycle.lines:
        title = f"Next invoice, on {date(outcome.next_cycle.starts_at)}"
        found.append(bill(title, outcome.next_cycle.lines, outcome.currency))
    return found


def bill(title: str, lines: Sequence[Line], currency: str) -> Bill:
    """Lines with their total."""
    shown = tuple(MoneyLine(line.description, line.amount) for line in lines)
    return Bill(title, shown, proration.total(lines), currency)


def gained(items: Iterable[ItemTerms]) -> list[Movement]:
    """What a plan that starts grants."""
    found = []
    for item in items:
        granted, _ = wording.item(item, settings.CURRENCY)
        label = str(item.feature)
        if item.entity_feature is not None:
            label = f"{label}, for each of its {item.entity_feature}"
        found.append(Movement(label, "–", granted))
    return found


def lost(subscription: Subscription) -> list[Movement]:
    """What is left of a plan that ends, and goes with it; summed per feature."""
    left: dict[str, list[Decimal]] = {}
    rows = Balance.objects.filter(subscription=subscription, ended_at=None).select_related("feature")
    for balance in rows:
        left.setdefault(str(balance.feature), []).append(balance.remaining)
    return [
        Movement(f"{feature} of {subscription.plan}", f"{quantity(sum(found, ZERO))} left", "ended")
        for feature, found in left.items()
    ]


def lost_with(entity: Entity) -> list[Movement]:
    """What an entity has left."""
    rows = Balance.objects.filter(entity=entity, ended_at=None).select_related("feature")
    return [Movement(str(row.feature), f"{quantity(row.remaining)} left", "ended") for row in rows]


def date(moment: datetime | None) -> str:
    """`1 December 2026`; `an open date`."""
    return f"{moment:%-d %B %Y}" if moment is not None else "an open date"
