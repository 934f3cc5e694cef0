"""Random lives of a customer, over HTTP, beside a model that moves matchsticks: after every step both show the same.

    SEQUENCE_SEED=7 SEQUENCE_STEPS=2000 pytest tests/domain/test_random_sequences.py

runs one life again, or a longer one.
"""

import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.services import audit
from config.api import milliseconds
from tests.builders import Account, item, limit, numbers, overage
from tests.client import Api, read
from tests.domain.model import ROLLOVER_MOST, Model
from tests.effort import tries

START = datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
STEPS = int(os.environ.get("SEQUENCE_STEPS", tries(60, 1000)))
SEEDS = [int(os.environ["SEQUENCE_SEED"])] if "SEQUENCE_SEED" in os.environ else [1, 2, 3]
PEOPLE = ["zoe", "adam", "mia", "bob"]
FEATURES = ["messages", "messages", "messages", "action1", "coins", "seats"]


class Life:
    """One customer in both worlds, doing the same things."""

    def __init__(self, api: Api, seed: int) -> None:
        self.random = random.Random(seed)
        self.real = Account(api, since="2026-01-31T08:30")
        self.model = Model(START)
        self.granted = 0
        self.log: list[str] = []
        rolls = {"max": ROLLOVER_MOST, "expiry_duration_type": "forever"}
        self.real.offer("action1")
        self.real.hold(
            item("seats", 3),
            item("messages", 40),
            item("messages", 10, per="seats", every="day", rollover=rolls),
            item("coins", 20, per="seats"),
        )
        self.model.start_plan(
            [
                ("seats", 3, False, "", False),
                ("messages", 40, False, "month", False),
                ("messages", 10, True, "day", True),
                ("coins", 20, True, "month", False),
            ]
        )

    def step(self) -> None:
        kinds = [
            (self.track, 10), (self.check, 3), (self.send_event, 3), (self.lock, 4), (self.settle, 4), (self.join, 2),
            (self.leave, 1), (self.grant, 2), (self.remove, 1), (self.set, 3), (self.turn, 3), (self.cap, 1),
            (self.overdraw, 1),
        ]  # fmt: skip
        (kind,) = self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        kind()

    # -- one step each --

    def track(self) -> None:
        who, feature = self.whom(), self.random.choice(FEATURES)
        value = self.random.choice([0, 1, 2, 5, 9, 30, 70, -1, -4, -25, -60])
        if feature == "coins":
            value *= 2  # whole units of what they pay for
        behavior = self.random.choice(["cap", "cap", "reject", "overflow"])
        told = self.note(f"track {value} {feature} by {who} {behavior}")
        body = {"feature_id": feature, "value": value, "overage_behavior": behavior, **self.real.whom(who or "")}
        response = self.real.api.send("balances.track", body)
        assert response.status_code == (200 if self.model.track(who, feature, value, behavior) else 400), told

    def check(self) -> None:
        who, feature = self.whom(), self.random.choice(FEATURES)
        required = self.random.choice([-1, 0, 1, 3, 10, 25, 60, 150])
        told = self.note(f"check {required} {feature} by {who}")
        assert self.real.allows(required, feature, by=who or "") == self.model.allows(who, feature, required), told

    def send_event(self) -> None:
        who, feature = self.whom(), self.random.choice(["messages", "seats", "action1"])
        required = self.random.choice([0, 1, 4, 11, 40])
        told = self.note(f"check and take {required} {feature} by {who}")
        answer = self.real.check(required, feature, by=who or "", send_event=True)
        assert answer["allowed"] == self.model.take(who, feature, required, "reject"), told

    def lock(self) -> None:
        who, feature = self.whom(), self.random.choice(["messages", "messages", "action1"])
        value, lock_id = self.random.choice([0, 1, 6, 13, 35]), f"lock-{len(self.log)}"
        told = self.note(f"lock {value} {feature} by {who} as {lock_id}")
        answer = self.real.lock(value, lock_id, feature, by=who or "")
        assert answer["allowed"] == self.model.lock(lock_id, who, feature, value), told

    def settle(self) -> None:
        if not self.model.locks:
            return
        lock_id = self.random.choice(sorted(self.model.locks))
        value = self.model.locks[lock_id].value
        final = self.random.choice([None, 0, value, value // 2, value + 3, value + 50])
        self.note(f"settle {lock_id} at {final}")
        if final is None:
            self.real.settle(lock_id, "release")
        else:
            self.real.settle(lock_id, override_value=final)
        self.model.settle(lock_id, final or 0)

    def join(self) -> None:
        absent = [who for who in PEOPLE if who not in self.model.people]
        if absent:
            who = self.random.choice(absent)
            self.note(f"join {who}")
            self.real.join(who)
            self.model.join(who)

    def leave(self) -> None:
        if self.model.people:
            who = self.random.choice(self.model.people)
            self.note(f"leave {who}")
            self.real.leave(who)
            self.model.leave(who)

    def grant(self) -> None:
        who, every = self.whom(), self.random.choice(["", "", "day", "month"])
        days = self.random.choice([None, None, 2, 9, 40])
        expires = self.model.now + timedelta(days=days) if days else None
        feature, size = self.random.choice(["messages", "messages", "coins"]), 2 * self.random.randint(0, 12)
        self.granted += 1
        name = f"grant-{self.granted}"
        self.note(f"grant {size} {feature} to {who} as {name} every {every} until {expires}")
        more: dict[str, Any] = {"reset": {"interval": every}} if every else {}
        if expires:
            more["expires_at"] = milliseconds(expires)
        self.real.grant(feature, size, to=who or "", balance_id=name, **more)
        self.model.grant(feature, size, who, name, every, expires)

    def remove(self) -> None:
        names = [pile.name for pile in self.model.alive() if pile.name and pile.holder is None]
        if names:
            name = self.random.choice(names)
            self.note(f"remove {name}")
            self.real.api.post("balances.delete", customer_id="acme", balance_id=name)
            self.model.remove(name)

    def set(self) -> None:
        who, feature = self.whom(), self.random.choice(["messages", "coins"])
        what = self.random.choice(["remaining", "usage", "add_to_balance"])
        value = 2 * self.random.randint(-10 if what == "add_to_balance" else 0, 30)
        told = self.note(f"set {what} of {feature} of {who} to {value}")
        body = {"feature_id": feature, what: value, **self.real.whom(who or "")}
        response = self.real.api.send("balances.update", body)
        assert response.status_code == (200 if self.model.set(feature, who, what, value) else 404), told

    def turn(self) -> None:
        to = self.model.now + timedelta(hours=self.random.choice([1, 5, 20, 24, 60, 400]))
        self.note(f"turn the clock to {to:%Y-%m-%d %H:%M}")
        self.real.turn_clock(to.replace(tzinfo=None).isoformat())
        self.model.turn(to)

    def cap(self) -> None:
        who, most = self.whom(), self.random.choice([None, 0, 20, 60, 200])
        self.note(f"cap {who} at {most}")
        self.real.control({"usage_limits": []} if most is None else limit(most), of=who or "")
        if most is None:
            self.model.limits.pop(who, None)
        else:
            self.model.limits[who] = most

    def overdraw(self) -> None:
        self.model.overage = self.random.choice([True, False, None])
        self.note(f"overage allowed: {self.model.overage}")
        kept = {"overage_allowed": []} if self.model.overage is None else overage(self.model.overage)
        self.real.control(kept)

    # -- looking --

    def agree(self) -> None:
        """The customer and one of its people look the same in both worlds."""
        for who in {None, self.whom()}:
            shown = self.real.get(who or "")["balances"]
            for feature in ("messages", "coins", "seats"):
                expected = self.model.numbers(feature, who)
                if expected is None and who is None and feature == "coins":
                    expected = (0, 0, 0)  # the plan grants them per seat, and there is none
                assert numbers(shown.get(feature)) == expected, f"{feature} of {who} after:\n" + "\n".join(
                    self.log[-25:]
                )

    def whom(self) -> str | None:
        return self.random.choice([None, *self.model.people])

    def note(self, what: str) -> str:
        self.log.append(f"{len(self.log)} {what}")
        return "\n".join(self.log[-25:])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_life_agrees_with_the_model_and_the_books_prove_it(api: Api, seed: int) -> None:
    life = Life(api, seed)
    for _ in range(STEPS):
        life.step()
        life.agree()
    found = [disagreement for progress in audit.prove() for disagreement in progress.found]
    assert found == [], "\n".join(map(str, found))
    events = read(api.send("events.list", {"customer_id": "acme", "limit": 5000}), 200)["list"]
    assert len({event["id"] for event in events}) == len(events)
