"""What one entity has left moved to another of the same customer."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.errors import BalanceConflict, BalanceNotFound
from billing.models import Balance
from billing.services.balances import ledger, resets
from config.actor import Actor
from config.errors import InvalidRequest


def transfer(
    *, source: Balance, target: Balance, amount: Decimal, at: datetime, actor: Actor, reason: str = ""
) -> None:
    """Move `amount` of what `source` has left to `target`, a balance of the same customer and feature.

    Both keep what they are granted: the one counts as used what it gave, the other has as much more until its next
    reset. Raises BalanceNotFound where one has ended, BalanceConflict where the two don't go together or too little
    is left, InvalidRequest for an amount that moves nothing.
    """
    if amount <= 0:
        raise InvalidRequest("Say how much is moved: more than 0.")
    with transaction.atomic():
        resets.reset_due(at=at, actor=actor, customer_pk=source.customer_id)
        live = Balance.objects.live(at).select_related("feature").filter(pk__in=(source.pk, target.pk))
        rows = {row.pk: row for row in live.select_for_update(of=("self",), no_key=True).order_by("pk")}
        if len(rows) < 2:
            raise BalanceNotFound(str(source.feature.slug))
        giver, taker = rows[source.pk], rows[target.pk]
        if (giver.customer_id, giver.feature_id) != (taker.customer_id, taker.feature_id):
            raise BalanceConflict("These balances are of different customers or features.")
        if giver.unlimited or taker.unlimited or not giver.feature.consumable:
            raise BalanceConflict(f"{giver.feature} is not spent here, so nothing of it can be moved.")
        if amount > giver.remaining:
            raise BalanceConflict("So much is not left. Look again at what there is.")
        ledger.record(
            [
                ledger.Change(giver.pk, ledger.Kind.TRANSFER, usage=amount, reason=reason or "Moved by hand"),
                ledger.Change(taker.pk, ledger.Kind.TRANSFER, usage=-amount, reason=reason or "Moved by hand"),
            ],
            at=at,
            actor=actor,
        )
