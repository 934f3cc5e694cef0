"""Discounts of a customer: which run, which a request adds or takes away, and what they make of an outcome."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import F, Q

from billing import discounting
from billing.errors import CodeRefused, RewardNotFound
from billing.models import Discount, Invoice, InvoiceLine, Reward, RewardCode, Subscription
from billing.outcomes import Outcome
from billing.services.plan_changes.requests import Coupon
from config.errors import InvalidInput, InvalidRequest
from entities.models import Customer, Entity


def lower(
    outcome: Outcome,
    customer: Customer,
    *,
    given: Sequence[Discount] = (),
    removed: Sequence[Discount] = (),
    running: Sequence[Discount] | None = None,
) -> None:
    """Take off the lines of an outcome, and of the invoice after it, what the customer's discounts take off.

    `given` are added by the outcome, `removed` taken away. A discount for one invoice is spent by the first that it
    takes something off, so not by a trial that costs nothing.
    """
    if running is None:
        running = of(customer, at=outcome.at)
    rows = [*(row for row in running if row not in removed), *given]
    outcome.given, outcome.spent = list(given), list(removed)
    if not rows:
        return
    lines = discounting.lower(outcome.lines, rows, at=outcome.at, currency=outcome.currency)
    taking = {id(line.discount) for line in lines if line.discount is not None}
    outcome.leaves_invoice = outcome.leaves_invoice or bool(taking)
    outcome.lines = lines
    outcome.spent += [row for row in rows if row.duration == Discount.Duration.ONE_OFF and id(row) in taking]
    following = outcome.next_cycle
    if following is not None:
        left = [row for row in rows if row not in outcome.spent]
        following.lines = discounting.lower(following.lines, left, at=following.starts_at, currency=outcome.currency)


def of(customer: Customer, *, at: datetime) -> list[Discount]:
    """The discounts that lower an invoice of that instant."""
    return list(Discount.objects.filter(customer=customer).running(at))


def of_many(moments: Mapping[int, datetime]) -> dict[int, list[Discount]]:
    """The same for many customers (by key), each at its own instant."""
    found: dict[int, list[Discount]] = {key: [] for key in moments}
    latest = max(moments.values())
    for row in Discount.objects.filter(customer__in=moments, starts_at__lte=latest).order_by("pk"):
        at = moments[row.customer_id]
        is_over = any(end is not None and end <= at for end in (row.ended_at, row.ends_at))
        if row.starts_at <= at and not is_over:
            found[row.customer_id].append(row)
    return found


def wanted(
    asked: Iterable[Coupon],
    rows: Sequence[Subscription],
    *,
    customer: Customer,
    entity: Entity | None,
    starts_at: datetime,
    running: Iterable[Discount] = (),
) -> list[Discount]:
    """The discounts that a request asks for on plans of one scope, unsaved; one that runs there already isn't doubled.

    Raises RewardNotFound, CodeRefused, and InvalidRequest where there is nothing to take anything off.
    """
    found: list[Discount] = []
    held = {row.reward_slug for row in running if row.entity_id == (entity and entity.pk)}
    for coupon in asked:
        reward, code = _reward(coupon)
        if reward.slug in held:
            continue
        held.add(reward.slug)
        _check(reward, code, rows, customer)
        discount = Discount.given(reward, customer=customer, entity=entity, starts_at=starts_at, code=code)
        if not any(row.is_paid for row in rows):
            discount.duration, discount.ends_at = Discount.Duration.ONE_OFF, None
        found.append(discount)
    return found


def named(slugs: Iterable[str], running: Iterable[Discount], entity: Entity | None) -> list[Discount]:
    """The running discounts of a scope that came from these rewards; what doesn't run any more is not missed."""
    wanted_slugs = set(slugs)
    return [
        row
        for row in running
        if row.reward_slug in wanted_slugs and (row.entity_id == (entity and entity.pk) or row.covers_entities)
    ]


def apply(outcome: Outcome, *, customer: Customer) -> None:
    """Keep what an outcome gives and end what it spends, in the transaction that changes the plans and after that.

    Raises CodeRefused where a code was used up meanwhile.
    """
    for row in outcome.deletes:
        # What was to begin with a scheduled plan goes with it.
        waiting = Discount.objects.filter(customer=customer, entity=row.entity_id, starts_at=row.started_at)
        waiting.filter(starts_at__gt=outcome.at, ended_at=None).update(ended_at=outcome.at)
    for discount in outcome.given:
        take_code(discount.code)
        discount.customer = customer
        discount.save()
    for discount in outcome.spent:
        discount.ended_at = outcome.at
        discount.save(update_fields=["ended_at"])
    _end_without_plans(outcome, customer)


def attribute(rows: Iterable[InvoiceLine], outcome: Outcome) -> None:
    """Tie lines that were written before their discounts were kept to them."""
    written = [row for row in rows if row.kind == InvoiceLine.Kind.DISCOUNT]
    computed = [line.discount for line in outcome.lines if line.discount is not None]
    if len(written) == len(computed):
        for row, discount in zip(written, computed, strict=True):
            row.discount = discount
        InvoiceLine.objects.bulk_update(written, ["discount"])


def take_code(code: RewardCode | None) -> None:
    """Count one more redemption; raises CodeRefused beyond the most."""
    if code is None:
        return
    free = Q(most_redemptions=None) | Q(redeemed__lt=F("most_redemptions"))
    if not RewardCode.objects.filter(free, pk=code.pk).update(redeemed=F("redeemed") + 1):
        raise CodeRefused(code.code, "was used as often as it can be")


def check_code(code: RewardCode, customer: Customer) -> None:
    """Refuse, with CodeRefused, a code that this customer can't use."""
    if code.is_used_up:
        raise CodeRefused(code.code, "was used as often as it can be")
    if code.is_for_first_purchase:
        paid = Invoice.objects.filter(customer=customer, status=Invoice.Status.PAID, total__gt=0, is_internal=False)
        if paid.exists():
            raise CodeRefused(code.code, "is for a first purchase, and this customer has paid before")


def find_code(code: str) -> RewardCode:
    """The code as it was entered, in upper or lower case; raises RewardNotFound."""
    codes = RewardCode.objects.filter(code__iexact=code.strip(), reward__deleted_at=None).select_related("reward")
    found = codes.first()
    if found is None:
        raise RewardNotFound(f"Promotion code {code}")
    return found


def _reward(coupon: Coupon) -> tuple[Reward, RewardCode | None]:
    if coupon.code is not None:
        code = find_code(coupon.code)
        return code.reward, code
    if coupon.reward is None:
        raise InvalidInput("discounts: each needs a reward_id or a promotion_code.")
    reward = Reward.objects.live().filter(slug=coupon.reward).first()
    if reward is None:
        raise RewardNotFound(f"discounts: reward {coupon.reward}")
    return reward, None


def _check(reward: Reward, code: RewardCode | None, rows: Sequence[Subscription], customer: Customer) -> None:
    if not reward.is_coupon:
        raise InvalidRequest(f"discounts: {reward.slug} grants features, it is no discount. Use rewards.redeem.")
    if code is not None:
        check_code(code, customer)
    payable = [row for row in rows if row.is_paid or row.is_one_off]
    if not payable:
        raise InvalidRequest(f"discounts: {reward.slug} has nothing to take off: the plan is free. Leave it out.")
    if reward.plan_ids and not any(row.plan.slug in reward.plan_ids for row in payable):
        plans = ", ".join(reward.plan_ids[:10])
        raise InvalidRequest(f"discounts: {reward.slug} is for {plans}, not for this plan. Leave it out.")


def _end_without_plans(outcome: Outcome, customer: Customer) -> None:
    """What lowers the plans of a scope ends with the last one that is paid for."""
    for scope in {end.subscription.entity_id for end in outcome.ends if end.subscription.is_paid}:
        left = Subscription.objects.filter(customer=customer, entity=scope, is_paid=True).current_or_scheduled()
        if not left.exists():
            lapsing = Discount.objects.filter(customer=customer, entity=scope, covers_entities=False, ended_at=None)
            lapsing.update(ended_at=outcome.at)
