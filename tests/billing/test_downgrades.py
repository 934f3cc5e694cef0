"""Downgrades wait for the end of what is paid for; until then nothing is charged and nothing is lost."""

from tests.selling import CUSTOMER, Shop, monthly, ms, prepaid, seats


def test_a_workspace_steps_down_with_its_cycle_and_the_other_stays(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("premium", "a")
    shop.buys("premium", "b")
    shop.on("2026-04-16")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro", entity_id="a")
    assert (preview["total"], preview["next_cycle"]["starts_at"], preview["next_cycle"]["total"]) == (
        0,
        ms("2026-05-01"),
        20,
    )
    assert [(change["plan_id"], change["effective_at"]) for change in preview["incoming"]] == [
        ("pro", ms("2026-05-01"))
    ]
    assert [(change["plan_id"], change["expires_at"]) for change in preview["outgoing"]] == [
        ("premium", ms("2026-05-01"))
    ]
    assert shop.buys("pro", "a") == 0
    row = next(row for row in shop.entity("a")["subscriptions"] if row["plan_id"] == "premium")
    assert (row["canceled_at"], row["expires_at"]) == (ms("2026-04-16"), ms("2026-05-01"))
    shop.uses("messages", 300, "a")
    assert shop.left("messages", "a") == 700
    shop.on("2026-05-02")
    assert shop.plans("a") == {"pro": "active"}
    assert shop.plans("b") == {"premium": "active"}
    assert shop.left("messages", "a") == 500
    assert sorted(shop.invoices()[:2]) == [20, 50]
    assert len(shop.invoices()) == 4


def test_down_to_free_ends_the_subscription_at_the_processor(shop: Shop) -> None:
    shop.opens("2026-04-01", "a", "b")
    shop.buys("pro", "a")
    shop.buys("pro", "b")
    assert shop.buys("free", "a") == 0
    assert shop.plans("a") == {"pro": "canceling", "free": "scheduled"}
    cancel_at = {row["entity_id"]: row["cancel_at"] for row in shop.processor()}
    assert cancel_at == {"a": ms("2026-05-01"), "b": None}
    shop.on("2026-05-02")
    assert shop.plans("a") == {"free": "active"}
    assert shop.left("messages", "a") == 100
    assert [row["entity_id"] for row in shop.processor()] == ["b"]
    assert shop.invoices() == [20, 20, 20]


def test_a_year_is_used_up_before_the_month_begins(shop: Shop) -> None:
    shop.plan("yearly", 500, monthly("messages", 2000), every="year")
    shop.opens("2027-04-01")
    shop.buys("yearly")
    shop.on("2027-06-10")
    preview = shop.api.post("billing.preview_attach", customer_id=CUSTOMER, plan_id="pro")
    assert preview["next_cycle"]["starts_at"] == ms("2028-04-01")
    shop.buys("pro")
    shop.on("2028-03-31")
    assert shop.plans() == {"yearly": "canceling", "pro": "scheduled"}
    assert shop.invoices() == [500]
    shop.on("2028-04-02")
    assert shop.plans() == {"pro": "active"}
    assert shop.invoices() == [20, 500]


def test_the_last_wish_counts_and_uncancel_takes_all_of_them_back(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    for plan in ("pro", "free", "pro", "free"):
        shop.buys(plan, "a")
    assert shop.plans("a") == {"premium": "canceling", "free": "scheduled"}
    shop.update("premium", "a", cancel_action="uncancel")
    assert shop.plans("a") == {"premium": "active"}
    shop.on("2026-05-02")
    assert shop.plans("a") == {"premium": "active"}
    assert shop.invoices() == [50, 50]


def test_seats_taken_while_it_is_canceling_come_along(shop: Shop) -> None:
    shop.plan("team5", 50, seats(5, 10), group="team")
    shop.plan("team1", 20, seats(1, 10), group="team")
    shop.opens("2026-04-01", "ada")
    shop.buys("team5")
    shop.buys("team1")
    shop.joins("bob")
    shop.joins("cleo")
    shop.on("2026-05-02")
    assert shop.plans() == {"team1": "active"}
    balance = shop.customer()["balances"]["seats"]
    assert (balance["granted"], balance["usage"], balance["remaining"]) == (1, 3, 0)
    assert shop.invoices() == [20, 50]
    shop.on("2026-06-02")
    assert shop.invoices()[0] == 40


def test_usage_starts_afresh_with_the_lower_plan(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    shop.uses("messages", 999, "a")
    shop.buys("pro", "a")
    shop.on("2026-05-01")
    balance = shop.entity("a")["balances"]["messages"]
    assert (balance["usage"], balance["remaining"]) == (0, 500)
    assert balance["next_reset_at"] == ms("2026-06-01")


def test_packs_of_the_lower_plan_are_bought_with_the_switch(shop: Shop) -> None:
    shop.plan("big", 50, prepaid("words", 0, 10, 100, reset={"interval": "month"}), group="p")
    shop.plan("small", 20, prepaid("words", 0, 12, 100, reset={"interval": "month"}), group="p")
    shop.opens("2026-04-01", "a")
    shop.buys("big", "a", feature_quantities=[{"feature_id": "words", "quantity": 300}])
    shop.buys("small", "a", feature_quantities=[{"feature_id": "words", "quantity": 200}])
    assert shop.left("words", "a") == 300
    shop.on("2026-05-02")
    assert shop.left("words", "a") == 200
    assert shop.invoices()[0] == 44


def test_a_flag_of_a_scheduled_plan_neither_shows_nor_hides(shop: Shop) -> None:
    shop.api.post("features.create", feature_id="sso", name="SSO", type="boolean")
    shop.plan("with", 50, {"feature_id": "sso"}, group="f")
    shop.plan("without", 20, monthly("words", 1), group="f")
    shop.opens("2026-04-01", "a")
    shop.buys("with", "a")
    shop.buys("without", "a")
    assert "sso" in shop.entity("a")["flags"]
    shop.on("2026-05-02")
    assert "sso" not in shop.entity("a")["flags"]
    shop.buys("with", "a", plan_schedule="end_of_cycle")
    assert "sso" not in shop.entity("a")["flags"]


def test_a_downgrade_now_credits_and_the_credit_pays_the_next_invoice(shop: Shop) -> None:
    shop.opens("2026-04-01", "a")
    shop.buys("premium", "a")
    shop.on("2026-04-16")
    assert shop.buys("pro", "a", plan_schedule="immediate") == -15
    assert shop.invoices() == [-15, 50]
    shop.card(None)
    shop.on("2026-05-02")
    invoice = shop.customer("invoices")["invoices"][0]
    assert (invoice["total"], invoice["status"]) == (20, "open")  # 15 of it are there, 5 are not
