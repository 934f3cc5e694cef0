"""The catalogue as tables: out as they come in again, every row looked at before, versions kept, all or nothing."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.urls import reverse

from plans.models import Feature, Plan
from tests.admin import stories
from tests.admin.stories import Seen, Staff
from tests.client import Api

URL = "admin:catalogue-import"


def exported(staff: Staff, model: type[Model]) -> str:
    name, keys = model._meta.model_name, list(model._default_manager.values_list("pk", flat=True))
    answer = staff.client.post(
        reverse(f"admin:plans_{name}_changelist"), {"action": "export", "_selected_action": keys}
    )
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def edited(text: str, row: int, **cells: str) -> str:
    """The table with other cells in one row; columns with `__` for their points."""
    lines = list(csv.reader(io.StringIO(text)))
    for name, cell in cells.items():
        lines[row][lines[0].index(name.replace("__", "."))] = cell
    made = io.StringIO()
    csv.writer(made).writerows(lines)
    return made.getvalue()


def bring(staff: Staff, kind: str, content: str) -> Seen:
    return staff.act(reverse(URL), kind=kind, content=content, reason="From the spreadsheet")


def test_what_is_exported_comes_in_again_and_changes_nothing(staff: Staff, api: Api) -> None:
    stories.catalogue()
    api.post("features.create", feature_id="credits", name="=Credits", type="credit_system",
             credit_schema=[{"metered_feature_id": "requests", "credit_cost": Decimal("0.2")}])  # fmt: skip
    tiers = [{"to": 10, "amount": 3}, {"to": "inf", "amount": 2, "flat_amount": 1}]
    price = {"tiers": tiers, "interval": "month", "billing_method": "prepaid", "billing_units": 5, "max_purchase": 100}
    api.post("plans.create", plan_id="wide", name="Wide", group="w",
             price={"amount": Decimal("19.99"), "interval": "year"},
             free_trial={"duration_length": 14, "duration_type": "day", "card_required": False},
             metadata={"tone": "plain"},
             billing_controls={"overage_allowed": [{"feature_id": "requests", "enabled": True}]},
             items=[{"feature_id": "requests", "included": 10, "price": price, "reset": {"interval": "month"}},
                    {"feature_id": "summaries", "included": 5, "reset": {"interval": "month"},
                     "rollover": {"max": 9, "expiry_duration_type": "forever"}}])  # fmt: skip
    for kind, model in (("features", Feature), ("plans", Plan)):
        content = exported(staff, model)
        page = staff.post(reverse(URL), kind=kind, content=content)
        assert page.count("Stays as it is") == len(list(csv.reader(io.StringIO(content)))) - 1
        assert "not possible" not in page


def test_a_plan_that_is_held_becomes_a_version_and_a_new_one_is_made(staff: Staff) -> None:
    acme = stories.team()
    content = edited(exported(staff, Plan), 1, name="Team Plus", price__amount="35")
    content += "solo,Solo" + "," * (content.splitlines()[0].count(",") - 1) + "\n"
    seen = bring(staff, "plans", content)
    assert "Becomes version 2; 1 on version 1 keep it" in seen.text
    assert "New plan" in seen.text
    newest = Plan.objects.get(slug="team", is_latest=True)
    assert (newest.version, newest.name, newest.price_amount, newest.items.count()) == (2, "Team Plus", Decimal(35), 2)
    assert stories.plan_of(acme).plan.version == 1
    assert Plan.objects.get(slug="solo").items.count() == 0
    assert Plan.objects.filter(slug="workspace_pro").exists()
    assert "From the spreadsheet" in LogEntry.objects.latest("pk").change_message


def test_features_are_made_and_changed_from_a_table(staff: Staff) -> None:
    stories.catalogue()
    bring(staff, "features", 'feature_id,name,type,consumable,event_names\nwords,Words,metered,yes,"[""said""]"\n'
                             "seats,People,,,\n")  # fmt: skip
    words = Feature.objects.get(slug="words")
    assert (words.consumable, words.event_names) == (True, ["said"])
    assert Feature.objects.get(slug="seats").name == "People"


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("plans", "plan_id,colour\nteam,red\n", "The column colour is unknown"),
        ("plans", "name\nTeam\n", "plan_id is missing"),
        ("plans", "plan_id,name\nteam,Team,more\n", "as many cells"),
        ("plans", "plan_id,name\n", "no rows"),
        ("plans", "plan_id,name\nteam,a\0b\n", "Null characters are not allowed"),
        ("plans", "plan_id,price.amount,price.interval\nteam,NaN,month\n", "price.amount"),
        ("plans", "plan_id,price.amount,price.interval\nteam,1e999999999,month\n", "price.amount"),
        ("plans", "plan_id,metadata\nteam,{\n", "metadata"),
        ("plans", "plan_id,item.feature_id,item.included\nteam,seats,-1\n", "items[0].included"),
        ("plans", "plan_id,price.amount\nteam,many\n", "many is no number"),
        ("plans", "plan_id,price.amount,price.interval\nteam,-1,month\n", "price.amount"),
        ("plans", "plan_id,name,item.feature_id\nnew,New,nothing\n", "nothing"),
        ("features", "feature_id,consumable\nseats,perhaps\n", "neither yes nor no"),
        ("features", "feature_id,name\nseats,A\nseats,B\n", "comes twice"),
        ("features", "feature_id,consumable\nseats,yes\n", "customers have balances"),
    ],
)
def test_a_table_that_makes_no_sense_changes_nothing_and_says_where(
    staff: Staff, kind: str, content: str, problem: str
) -> None:
    stories.team()
    before = list(Plan.objects.values()), list(Feature.objects.values())
    answer = staff.client.post(
        reverse(URL), {"kind": kind, "content": content, "confirm": "1", "reason": "x", "fingerprint": "x"}
    )
    assert answer.status_code in (200, 409)
    assert problem in answer.content.decode()
    assert (list(Plan.objects.values()), list(Feature.objects.values())) == before


def test_a_catalogue_that_moved_since_the_look_is_shown_anew(staff: Staff) -> None:
    stories.catalogue()
    fields = {"kind": "plans", "content": "plan_id,name\nteam,Squad\n"}
    seen = staff.preview(reverse(URL), **fields)
    Plan.objects.filter(slug="team").update(name="Crew")
    page = staff.post(reverse(URL), status=409, confirm="1", reason="x", fingerprint=seen.fingerprint, **fields)
    assert "Things have moved" in page
    assert Plan.objects.get(slug="team").name == "Crew"


@pytest.mark.parametrize(("group", "status"), [("Read only", 403), ("Support", 403), ("Billing", 200)])
def test_only_billing_brings_in_a_catalogue(member: Any, group: str, status: int) -> None:
    staff = member(group)
    staff.get(reverse(URL), status=status)
    staff.post(reverse(URL), status=status, kind="features", content="feature_id,name,type\nx,X,boolean\n")
    page = staff.get(reverse("admin:plans_plan_changelist"))
    assert ("bring-in" in page) == (status == 200)
