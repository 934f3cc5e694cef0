"""The seeds' first story over a year: a team, its seats and their summaries, across a leap day, whenever cron comes.

Acme takes the team plan on the last of October 2027: 30 a month, 30 for each seat beyond the first, billed for the
month that ends, and 50 summaries a month for every seat.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from billing.services import audit
from tests.client import Api
from tests.street import Street

BEGIN = datetime(2027, 10, 31, 9, tzinfo=UTC)
CRON: dict[str, Callable[[datetime], datetime]] = {
    "every hour of need": lambda day: day + timedelta(days=1),
    "every week": lambda day: day + timedelta(weeks=1),
    "rarely": lambda day: day + timedelta(days=45),
    "never but at the end": lambda day: day + timedelta(days=1000),
}


class Acme(Street):
    """The team, told by what happens to it."""

    def __init__(self, api: Api) -> None:
        super().__init__(api, BEGIN.isoformat())
        for feature, consumable in [("seats", False), ("summaries", True)]:
            api.post("features.create", feature_id=feature, name=feature.title(), type="metered", consumable=consumable)
        beyond = {"amount": 30, "interval": "month", "billing_method": "usage_based"}
        each = {"included": 50, "reset": {"interval": "month"}, "entity_feature_id": "seats"}
        api.post(
            "plans.create",
            plan_id="team",
            name="Team",
            price={"amount": 30, "interval": "month"},
            items=[
                {"feature_id": "seats", "included": 1, "price": beyond},
                {"feature_id": "summaries", **each},
            ],
        )
        self.call("customers.get_or_create")
        self.call("sandbox.set_payment_method", payment_method="success")

    def joins(self, member: str) -> None:
        self.call("entities.create", entity_id=member, feature_id="seats")

    def leaves(self, member: str) -> None:
        self.call("entities.delete", entity_id=member)

    def writes(self, member: str, summaries: int) -> None:
        self.call("balances.track", entity_id=member, feature_id="summaries", value=summaries)

    def left(self, member: str) -> int:
        check = self.call("balances.check", entity_id=member, feature_id="summaries")
        return int(check["balance"]["remaining"])


@pytest.mark.parametrize("cron", CRON)
def test_a_team_pays_the_same_whenever_cron_comes(api: Api, cron: str) -> None:
    acme, next_visit = Acme(api), CRON[cron](BEGIN)

    def pass_until(day: str) -> None:
        nonlocal next_visit
        while next_visit <= datetime.fromisoformat(day).replace(tzinfo=UTC):
            acme.on(next_visit.isoformat())
            acme.run()
            next_visit = CRON[cron](next_visit)
        acme.on(day)

    acme.joins("alice")
    acme.call("billing.attach", plan_id="team")
    pass_until("2027-11-05")
    acme.joins("bob")
    acme.writes("alice", 60)
    assert (acme.left("alice"), acme.left("bob")) == (0, 50)
    pass_until("2027-12-01")
    assert acme.left("alice") == 50
    pass_until("2027-12-10")
    acme.joins("carol")
    acme.writes("bob", 20)
    acme.writes("carol", 5)
    pass_until("2028-02-15")
    assert (acme.left("bob"), acme.left("carol")) == (50, 50)
    pass_until("2028-02-29T08:59:00")
    acme.writes("alice", 10)
    pass_until("2028-02-29T09:01:00")
    assert acme.left("alice") == 50
    acme.leaves("bob")
    pass_until("2028-04-30T09:00:00")
    acme.joins("dave")
    pass_until("2028-07-04")
    acme.call("billing.update", plan_id="team", cancel_action="cancel_end_of_cycle")
    pass_until("2028-07-20")
    acme.call("billing.update", plan_id="team", cancel_action="uncancel")
    pass_until("2028-10-31T09:00:01")
    acme.run()
    assert acme.invoices() == [
        (30, "2027-10-31"),
        (60, "2027-11-30"),
        (90, "2027-12-31"),
        (90, "2028-01-31"),
        (90, "2028-02-29"),
        (60, "2028-03-31"),
        (60, "2028-04-30"),
        (90, "2028-05-31"),
        (90, "2028-06-30"),
        (90, "2028-07-31"),
        (90, "2028-08-31"),
        (90, "2028-09-30"),
        (90, "2028-10-31"),
    ]
    assert [acme.left(member) for member in ("alice", "carol", "dave")] == [50, 50, 50]
    assert not [found for progress in audit.prove() for found in progress.found]
