"""What customers hold of the catalogue: asked from out here, since `plans.catalog` knows no customers."""

from collections.abc import Iterable

from django.db.models import Count, Exists, OuterRef, Q

from billing.models import Balance, RewardGrant, Subscription, SubscriptionItem, UsageEvent
from entities.models import Entity
from plans.catalog.store import InUse
from plans.models import Feature, Plan

# A deleted customer keeps its history, and stands in nobody's way.
_LIVE_CUSTOMER = Q(customer__deleted_at=None)
_LIVE = Q(status__in=[Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE, Subscription.Status.SCHEDULED])


def of(plans: Iterable[Plan], features: Iterable[Feature]) -> InUse:
    """Which of these plan versions were ever held, by how many customers now, and which features customers have."""
    plan_ids, feature_ids = [plan.pk for plan in plans], [feature.pk for feature in features]
    held: dict[int, int] = {}
    if plan_ids:
        rows = Subscription.objects.filter(plan__in=plan_ids, customer__deleted_at=None).values_list("plan")
        held = dict(rows.annotate(customers=Count("customer", distinct=True, filter=_LIVE)).order_by())
    had: set[int] = set()
    if feature_ids:
        row = OuterRef("pk")
        used = (
            Exists(Balance.objects.filter(_LIVE_CUSTOMER, feature=row))
            | Exists(Entity.objects.filter(_LIVE_CUSTOMER, feature=row))
            | Exists(UsageEvent.objects.filter(_LIVE_CUSTOMER, feature=row))
            | Exists(RewardGrant.objects.filter(feature=row))
            | Exists(
                SubscriptionItem.objects.filter(
                    Q(feature=row) | Q(entity_feature=row), subscription__customer__deleted_at=None
                )
            )
        )
        had = set(Feature.objects.filter(used, pk__in=feature_ids).values_list("pk", flat=True))
    return InUse(plans=held, features=frozenset(had))
