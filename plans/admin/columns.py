"""The columns of the catalogue's tables: each the path of a field as the API names it, and how a cell is read."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from import_export.fields import Field
from import_export.widgets import Widget

from config.api import json

MOST = 10**15  # of a number in a cell that is taken for a whole one
ITEM = "item."


class Text(Widget):
    """As it is."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        """Without the mark that keeps spreadsheets from reckoning."""
        text = str(value).strip()
        return text[1:] if text[:2] in ("'=", "'+", "'-", "'@") else text

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        """Empty for nothing."""
        return "" if value is None else value


class Number(Text):
    """An exact number."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        """None for an empty cell."""
        text = super().clean(value)
        if not text:
            return None
        try:
            number = json.number(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise ValueError(f"{text} is no number")
        return int(number) if abs(number) < MOST and number == int(number) else number


class Switch(Text):
    """yes or no."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        """None for an empty cell."""
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": None}
        text = super().clean(value).lower()
        if text not in words:
            raise ValueError(f"{text} is neither yes nor no")
        return words[text]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        """In words."""
        return "" if value is None else "yes" if value else "no"


class Json(Text):
    """What has no shape of its own in a table."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        """None for an empty cell."""
        text = super().clean(value)
        return json.decode(text.encode()) if text else None

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        """Empty for nothing."""
        return json.encode(value).decode() if value else ""


class Column(Field):
    """The value at a path of what the API shows."""

    def __init__(self, path: str, widget: Widget) -> None:
        super().__init__(column_name=path, attribute=path, widget=widget)

    def get_value(self, instance: Any, **kwargs: Any) -> Any:
        """None where the path ends early."""
        for name in self.column_name.split("."):
            instance = instance.get(name) if isinstance(instance, Mapping) else None
        return instance


def _columns(**widgets: Widget) -> list[Column]:
    return [Column(path.replace("__", "."), widget) for path, widget in widgets.items()]


TEXT, NUMBER, SWITCH, JSON = Text(), Number(), Switch(), Json()
FEATURES = _columns(
    feature_id=TEXT, name=TEXT, type=TEXT, consumable=SWITCH, event_names=JSON, credit_schema=JSON,
    display__singular=TEXT, display__plural=TEXT, archived=SWITCH,
)  # fmt: skip
PLANS = _columns(
    plan_id=TEXT, name=TEXT, description=TEXT, group=TEXT, add_on=SWITCH, auto_enable=SWITCH, price__amount=NUMBER,
    price__interval=TEXT, price__interval_count=NUMBER, free_trial__duration_length=NUMBER,
    free_trial__duration_type=TEXT, free_trial__card_required=SWITCH, free_trial__on_end=TEXT,
    config__ignore_past_due=SWITCH, billing_controls=JSON, licenses=JSON, metadata=JSON, archived=SWITCH,
)  # fmt: skip
ITEMS = _columns(
    item__feature_id=TEXT, item__entity_feature_id=TEXT, item__included=NUMBER, item__unlimited=SWITCH,
    item__pooled=SWITCH, item__reset__interval=TEXT, item__reset__interval_count=NUMBER, item__price__amount=NUMBER,
    item__price__tiers=JSON, item__price__tier_behavior=TEXT, item__price__interval=TEXT,
    item__price__interval_count=NUMBER, item__price__billing_units=NUMBER, item__price__billing_method=TEXT,
    item__price__max_purchase=NUMBER, item__proration__on_increase=TEXT, item__proration__on_decrease=TEXT,
    item__rollover__max=NUMBER, item__rollover__max_percentage=NUMBER, item__rollover__expiry_duration_type=TEXT,
    item__rollover__expiry_duration_length=NUMBER,
)  # fmt: skip
# Emptied by an empty cell, instead of left as they are.
CLEARED: Mapping[str, Any] = {
    "description": "", "group": "", "event_names": [], "credit_schema": [], "billing_controls": {}, "licenses": [],
    "metadata": {}, "price": None, "free_trial": None, "display": {},
}  # fmt: skip
