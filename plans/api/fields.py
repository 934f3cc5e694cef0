"""Strict scalars: what isn't the type is refused, where DRF's own fields would convert it."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from config.api import encode


class TextField(serializers.Field[str, Any, str, Any]):
    """A string of at most `max_length` characters; `blank=False` asks for something visible."""

    def __init__(self, *, max_length: int, blank: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.max_length, self.blank = max_length, blank

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string.")
        if len(data) > self.max_length:
            raise serializers.ValidationError(f"must be at most {self.max_length} characters long.")
        if not self.blank and not data.strip():
            raise serializers.ValidationError("must not be empty.")
        return data

    def to_representation(self, value: str) -> str:
        return value


class SwitchField(serializers.Field[bool, Any, bool, Any]):
    """true or false, and nothing else."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false.")
        return data

    def to_representation(self, value: bool) -> bool:
        return value


class CountField(serializers.Field[int, Any, int, Any]):
    """A whole number from `least` to `most`; `1.0` is one."""

    def __init__(self, *, least: int = 0, most: int, **options: Any) -> None:
        super().__init__(**options)
        self.least, self.most = least, most

    def to_internal_value(self, data: Any) -> int:
        is_number = isinstance(data, int | Decimal) and not isinstance(data, bool)
        if not is_number or not self.least <= data <= self.most or data != int(data):
            raise serializers.ValidationError(f"must be a whole number from {self.least} to {self.most}.")
        return int(data)

    def to_representation(self, value: int) -> int:
        return value


class OneOfField(serializers.ChoiceField):
    """One of the given words; the answer to any other names them all."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"must be one of {', '.join(map(str, self.choices))}.")
        return data


class Shape(serializers.Serializer[Any]):
    """An object whose keys with null count as left out, unless the field itself takes null."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            fields = self.fields
            data = {key: value for key, value in data.items() if value is not None or _takes_null(fields.get(key))}
        return super().to_internal_value(data)


def _takes_null(field: serializers.Field[Any, Any, Any, Any] | None) -> bool:
    return field is not None and field.allow_null


class MetadataField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """An object of the application's own, kept as it is; at most `most` bytes of JSON."""

    def __init__(self, *, most: int = 16_000, **options: Any) -> None:
        super().__init__(**options)
        self.most = most

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object.")
        kept: dict[str, Any] = _kept(data)
        if len(encode(kept)) > self.most:
            raise serializers.ValidationError(f"must be at most {self.most} bytes of JSON.")
        return kept

    def to_representation(self, value: Any) -> Any:
        return value


def _kept(value: Any) -> Any:
    """The same JSON with numbers that the database's JSON can hold; nothing is ever computed with them."""
    if isinstance(value, dict):
        return {key: _kept(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_kept(inner) for inner in value]
    if isinstance(value, Decimal):
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise serializers.ValidationError("holds a number that is too big.")
        return number
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise serializers.ValidationError("holds a number that is too big.")
    return value


class ManyField(serializers.ListField):
    """A list of `child`, with a bound on its length and sentences of our own."""

    default_error_messages = {"not_a_list": "must be a list.", "max_length": "must have at most {max_length} entries."}

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(max_length=most, **options)
