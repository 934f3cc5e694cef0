"""Serializer fields for what the wire carries besides plain JSON: instants, quantities, money, ids."""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from rest_framework import serializers

from config.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Instants far enough from the calendar's end that adding years of billing cycles can't leave it.
LATEST_MS = 32_503_680_000_000  # 3000-01-01

# The columns are numeric(30, 10).
MAX_DIGITS = 30
MAX_PLACES = 10
_LAST_PLACE = Decimal(1).scaleb(-MAX_PLACES)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def milliseconds(at: datetime | None) -> int | None:
    """Unix milliseconds of an aware instant, exact; None stays None."""
    return None if at is None else (at - EPOCH) // _MILLISECOND


def moment(value: Any, field: str) -> datetime:
    """The instant that `value` Unix milliseconds name; raises InvalidInput naming `field`."""
    try:
        return _moment(value)
    except ValueError as problem:
        raise InvalidInput(f"{field} {problem}") from problem


def quantity(value: Any, field: str, *, negative: bool = True) -> Decimal:
    """`value` as a Decimal that a numeric(30, 10) column can hold, rounded to 10 decimals; raises InvalidInput naming
    `field`."""
    try:
        return _quantity(value, negative=negative)
    except ValueError as problem:
        raise InvalidInput(f"{field} {problem}") from problem


def _moment(value: Any) -> datetime:
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a time in Unix milliseconds, as a number.")
    if not 0 <= value <= LATEST_MS:
        raise ValueError(f"must be a time in Unix milliseconds between 0 and {LATEST_MS}.")
    return EPOCH + timedelta(milliseconds=value)


def _quantity(value: Any, *, negative: bool) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number.")
    number = Decimal(value)
    if number.is_zero():
        return Decimal(0)
    if number < 0 and not negative:
        raise ValueError("must not be negative.")
    if number.adjusted() < -MAX_PLACES - 1:
        return Decimal(0)
    if number.adjusted() < MAX_DIGITS - MAX_PLACES and number.as_tuple().exponent < -MAX_PLACES:  # type: ignore[operator]
        # Programs that count in binary send 0.1 + 0.2 as 0.30000000000000004.
        number = number.quantize(_LAST_PLACE, ROUND_HALF_UP)
    if number.adjusted() >= MAX_DIGITS - MAX_PLACES:
        raise ValueError(f"must be below 10^{MAX_DIGITS - MAX_PLACES}.")
    return number or Decimal(0)


class TimestampField(serializers.Field[datetime, Any, int | None, Any]):
    """Unix milliseconds on the wire, an aware datetime in UTC inside."""

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return _moment(data)
        except ValueError as problem:
            raise serializers.ValidationError(str(problem)) from problem

    def to_representation(self, value: datetime) -> int | None:
        return milliseconds(value)


class QuantityField(serializers.Field[Decimal, Any, Decimal, Any]):
    """A plain JSON number: at most 20 digits before the point, and rounded half up to 10 after it.

    `negative=False` for floors at 0.
    """

    def __init__(self, *, negative: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.negative = negative

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            return _quantity(data, negative=self.negative)
        except ValueError as problem:
            raise serializers.ValidationError(str(problem)) from problem

    def to_representation(self, value: Decimal) -> Decimal:
        return value


class MoneyField(QuantityField):
    """An amount in major units (`30` is thirty dollars); fractions of a cent are allowed."""


class IdField(serializers.Field[str, Any, str, Any]):
    """A public id: any text without control characters, neither empty nor longer than `max_length`."""

    def __init__(self, *, max_length: int = 255, **options: Any) -> None:
        super().__init__(**options)
        self.max_length = max_length

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string.")
        if not data.strip():
            raise serializers.ValidationError("must not be empty.")
        if len(data) > self.max_length:
            raise serializers.ValidationError(f"must be at most {self.max_length} characters long.")
        if _CONTROL.search(data):
            raise serializers.ValidationError("must not hold control characters.")
        return data

    def to_representation(self, value: str) -> str:
        return value
