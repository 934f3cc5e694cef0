"""Everything that is due for everybody: many customers at once, each in the order of its own instants."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Min

from billing.models import Operation, Subscription
from billing.processors import get_processor
from billing.services.balances import resets
from billing.services.due import clock, recovery, renewing
from billing.services.due.clock import Due, What
from billing.services.execution import queue
from config.actor import Actor
from config.errors import DomainError
from entities.models import Customer

logger = logging.getLogger(__name__)

_UNFINISHED = (Operation.Status.PENDING, Operation.Status.WAITING)
# Customers that are looked at together.
_LOOK = 1000
# Customers between two words about the progress.
_FEW = 50


@dataclass(slots=True)
class Run:
    """What has come of it so far: customers `done` of `total`, steps, who was busy (keys), who failed (ids) and why."""

    total: int = 0
    done: int = 0
    steps: int = 0
    busy: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run(*, at: datetime, actor: Actor) -> Iterator[Run]:
    """Bring everybody for whom something is due up to `at` (a test clock: to where it stands); yields its progress.

    Two runs side by side do everything once: each leaves those whom the other has, and looks again in the end.
    """
    keys = sorted(due_customers(at))
    clocked = set(Customer.objects.filter(pk__in=keys).exclude(clock_at=None).values_list("pk", flat=True))
    so_far = Run(total=len(keys))
    alone = [key for key in keys if key in clocked or not get_processor().takes_many]
    together = [key for key in keys if key not in clocked] if get_processor().takes_many else []
    for some in _batches(together, at):
        _add(so_far, advance_all(some, until=at, actor=actor), len(some))
        yield so_far
    alone += so_far.busy
    for start in range(0, len(alone), _FEW):
        few = alone[start : start + _FEW]
        for customer in Customer.objects.filter(pk__in=few).order_by("pk"):
            _alone(so_far, customer, customer.now(at), actor)
        so_far.done += len(few)
        yield so_far


def _batches(keys: Sequence[int], at: datetime) -> Iterator[list[int]]:
    """Customers who together have about as many renewals as are made in one go."""
    batch: list[int] = []
    size = 0
    for start in range(0, len(keys), _LOOK):
        some = keys[start : start + _LOOK]
        due = Subscription.objects.filter(customer__in=some, is_paid=True, current_period_end__lte=at).live()
        sizes = dict(due.values_list("customer").annotate(Count("pk")))
        for key in some:
            if batch and size + sizes.get(key, 1) > renewing.MOST:
                yield batch
                batch, size = [], 0
            batch.append(key)
            size += sizes.get(key, 1)
    if batch:
        yield batch


def _add(so_far: Run, part: Run, customers: int) -> None:
    so_far.steps += part.steps
    so_far.busy += part.busy
    so_far.failed |= part.failed
    so_far.done += customers - len(part.busy)


def due_customers(at: datetime) -> Iterable[int]:
    """Keys of the customers for whom something is due; those with a test clock have a time of their own."""
    due = [
        rows.filter(customer__clock_at=None, **{f"{column}__lte": at}).values("customer")
        for what, (rows, column) in clock.sources().items()
        if what in clock.OF_PLANS
    ]
    pending = Operation.objects.filter(status=Operation.Status.PENDING).values("customer")
    return pending.union(*due).values_list("customer", flat=True)


def advance_all(keys: Collection[int], *, until: datetime, actor: Actor) -> Run:
    """Do everything that is due for these customers (by key, without test clocks) up to `until`, many at once.

    Those whose turn somebody else has are left out and named: they are for later, or for `advance`, which waits. Where
    many can't be brought together, each is brought by itself, and those who can't be brought at all are named.
    """
    with queue.customers(keys) as taken:
        run = Run(busy=[key for key in keys if key not in taken])
        try:
            unfinished = Operation.objects.filter(customer__in=taken, status__in=_UNFINISHED)
            for customer in Customer.objects.filter(pk__in=unfinished.values("customer")).order_by("pk"):
                recovery.finish_pending(customer)
            _together(run, taken, until, actor)
        except Exception:
            logger.exception("%s customers could not be brought together; each by itself now", len(taken))
            for customer in Customer.objects.filter(pk__in=taken).order_by("pk"):
                _alone(run, customer, until, actor)
    return run


def _together(run: Run, keys: Collection[int], until: datetime, actor: Actor) -> None:
    repeated, last = 0, None
    while due := _next_due_of(keys, until):
        repeated = repeated + 1 if due == last else 0
        if repeated > clock.TOO_MANY:
            raise RuntimeError(f"customers {sorted(due)[:5]} make no progress")
        last = due
        _do_all(due, actor)
        run.steps += len(due)
        keys = due.keys()


def _alone(run: Run, customer: Customer, until: datetime, actor: Actor) -> None:
    try:
        run.steps += clock.advance(customer=customer, until=until, actor=actor)
    except DomainError as problem:
        run.failed[customer.external_id] = problem.message
    except Exception:
        logger.exception("customer %s could not be brought up to date", customer.pk)
        run.failed[customer.external_id] = "failed, see the log"


def _next_due_of(keys: Collection[int], until: datetime) -> dict[int, Due]:
    """The same for many customers (by key): those for whom there is something, with what there is."""
    found: dict[int, dict[What, datetime]] = {}
    for what, (rows, column) in clock.sources().items():
        due = rows.filter(customer__in=keys, **{f"{column}__lte": until}).order_by()
        for key, moment in due.values_list("customer").annotate(Min(column)):
            found.setdefault(key, {})[what] = moment
    earliest = {key: min(moments.values()) for key, moments in found.items()}
    return {
        key: Due(at, frozenset(what for what, moment in found[key].items() if moment == at))
        for key, at in earliest.items()
    }


def _do_all(due: Mapping[int, Due], actor: Actor) -> None:
    """The same for many customers, each at its own instant."""
    special = {key for key, one in due.items() if not one.whats <= clock.ORDINARY}
    customers = list(Customer.objects.filter(pk__in=special).order_by("pk"))
    for customer in customers:
        clock.lapse(customer, due[customer.pk].at, actor)
    renewals = {key: one.at for key, one in due.items() if What.RENEWAL in one.whats}
    if renewals:
        resets.reset_customers(renewals, actor=actor)
        renewing.renew(renewals, actor=actor)
    for customer in customers:
        customer.refresh_from_db()
        clock.end_and_start(customer, due[customer.pk].at, actor)
    resets.reset_customers({key: one.at for key, one in due.items()}, actor=actor)
