"""Features and plans edited by hand, through the catalogue."""

from decimal import Decimal
from typing import Any

from django.urls import reverse

from billing.models import Subscription
from plans.models import Feature, Plan, PlanItem
from tests.admin import stories
from tests.admin.stories import Staff

ADD_PLAN, ADD_FEATURE = "admin:plans_plan_add", "admin:plans_feature_add"
NO_COSTS = {"credit_costs-TOTAL_FORMS": "0", "credit_costs-INITIAL_FORMS": "0"}


def feature(slug: str, **fields: Any) -> dict[str, Any]:
    return {"name": slug.title(), "slug": slug, "type": "metered", "event_names": "", **NO_COSTS, **fields}


def plan(items: list[dict[str, Any]], *, stored: int = 0, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "Team", "slug": "team", "price_amount": "30", "price_interval": "month", "price_interval_count": "1",
        "trial_on_end": "bill", "trial_card_required": "on", "items-TOTAL_FORMS": str(len(items)),
        "items-INITIAL_FORMS": str(stored), **fields,
    }  # fmt: skip
    for number, item in enumerate(items):
        whole = {"included": "0", "reset_interval_count": "1", "price_interval_count": "1", "billing_units": "1",
                 "rollover_expiry_length": "1", "tiers": "[]", **item}  # fmt: skip
        values |= {f"items-{number}-{name}": value for name, value in whole.items()}
    return values


def as_posted(row: Plan, **changes: Any) -> dict[str, Any]:
    """What the editor sends for a plan with its items as they are."""
    items = [
        {
            "id": item.pk, "plan": row.pk, "feature": item.feature_id, "entity_feature": item.entity_feature_id or "",
            "included": item.included, "reset_interval": item.reset_interval, "billing_method": item.billing_method,
            "price_amount": "" if item.price_amount is None else item.price_amount,
            "price_interval": item.price_interval, "on_increase": item.on_increase, "on_decrease": item.on_decrease,
        }
        for item in row.items.all()
    ]  # fmt: skip
    changed = [item | changes.pop(f"item_{item['feature']}", {}) for item in items]
    return plan(changed, stored=len(items), **changes)


def test_a_feature_is_made(staff: Staff) -> None:
    staff.post(reverse(ADD_FEATURE), status=302, **feature("summaries", consumable="on", event_names="made,sent"))
    made = Feature.objects.get()
    assert (made.slug, made.consumable, made.event_names) == ("summaries", True, ["made", "sent"])


def test_a_credit_system_is_made_with_its_costs(staff: Staff) -> None:
    stories.catalogue()
    summaries = Feature.objects.get(slug="summaries")
    costs = {"credit_costs-TOTAL_FORMS": "1", "credit_costs-INITIAL_FORMS": "0",
             "credit_costs-0-metered_feature": summaries.pk, "credit_costs-0-cost": "2.5"}  # fmt: skip
    staff.post(reverse(ADD_FEATURE), status=302, **feature("credits", type="credit_system") | costs)
    cost = Feature.objects.get(slug="credits").credit_costs.get()
    assert (cost.metered_feature, cost.cost) == (summaries, Decimal("2.5"))


def test_what_the_catalogue_refuses_is_told_in_the_form(staff: Staff) -> None:
    page = staff.post(reverse(ADD_FEATURE), **feature("credits", type="credit_system"))
    assert "is required for a credit system" in page
    assert not Feature.objects.exists()


def test_a_plan_is_made_with_its_items_in_one_go(staff: Staff) -> None:
    stories.catalogue()
    seats, summaries = Feature.objects.get(slug="seats"), Feature.objects.get(slug="summaries")
    items = [
        {"feature": seats.pk, "included": "1", "billing_method": "usage_based", "price_amount": "30",
         "price_interval": "month"},
        {"feature": summaries.pk, "included": "50", "entity_feature": seats.pk, "reset_interval": "month"},
    ]  # fmt: skip
    staff.post(reverse(ADD_PLAN), status=302, **plan(items, slug="crew", name="Crew"))
    made = Plan.objects.get(slug="crew")
    granted = [(item.feature, item.included) for item in made.items.all()]
    assert granted == [(seats, Decimal(1)), (summaries, Decimal(50))]
    page = staff.get(reverse("admin:plans_plan_change", args=[made.pk]))
    assert "50 Meeting Summaries for each of its Seats, every month" in page
    assert "$30 per month" in page
    assert 'value="50"' in page


def test_a_plan_that_makes_no_sense_is_refused_with_its_sentence(staff: Staff) -> None:
    stories.catalogue()
    summaries, requests = Feature.objects.get(slug="summaries"), Feature.objects.get(slug="requests")
    items = [{"feature": summaries.pk, "included": "50", "entity_feature": requests.pk}]
    page = staff.post(reverse(ADD_PLAN), **plan(items, slug="crew"))
    assert "must be a metered feature with consumable false" in page
    assert not Plan.objects.filter(slug="crew").exists()


def test_a_plan_nobody_held_is_changed_in_place(staff: Staff) -> None:
    stories.catalogue()
    row = Plan.objects.with_items().get(slug="team")
    staff.post(reverse("admin:plans_plan_change", args=[row.pk]), status=302, **as_posted(row, price_amount="35"))
    assert Plan.objects.get(slug="team").price_amount == 35


def test_a_plan_that_is_held_gets_a_version_and_its_holders_keep_their_terms(staff: Staff) -> None:
    acme = stories.team()
    row = Plan.objects.with_items().get(slug="team")
    summaries = Feature.objects.get(slug="summaries")
    url = reverse("admin:plans_plan_change", args=[row.pk])
    assert "makes version 2" in staff.get(url)
    staff.post(url, status=302, **as_posted(row, **{f"item_{summaries.pk}": {"included": "80"}}))
    latest = Plan.objects.get(slug="team", is_latest=True)
    assert (latest.version, latest.items.get(feature=summaries).included) == (2, Decimal(80))
    assert PlanItem.objects.get(plan=row, feature=summaries).included == 50
    assert Subscription.objects.get(customer=acme).plan == row
    old = staff.get(url)
    assert "This is an old version" in old
    staff.post(url, status=403, **as_posted(row, price_amount="1"))


def test_the_name_of_a_held_plan_is_changed_in_place(staff: Staff) -> None:
    stories.team()
    row = Plan.objects.with_items().get(slug="team")
    staff.post(reverse("admin:plans_plan_change", args=[row.pk]), status=302, **as_posted(row, name="Crew"))
    assert list(Plan.objects.filter(slug="team").values_list("name", "version")) == [("Crew", 1)]


def test_plans_and_features_are_archived_and_brought_back(staff: Staff) -> None:
    stories.catalogue()
    row, gone = Plan.objects.get(slug="team"), Feature.objects.get(slug="workspaces")
    for action, archived in (("archive", True), ("bring_back", False)):
        staff.post(reverse("admin:plans_plan_changelist"), status=302, action=action, _selected_action=row.pk)
        staff.post(reverse("admin:plans_feature_changelist"), status=302, action=action, _selected_action=gone.pk)
        row.refresh_from_db()
        gone.refresh_from_db()
        assert (row.archived_at is not None, gone.archived_at is not None) == (archived, archived)
