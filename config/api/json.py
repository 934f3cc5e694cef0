"""JSON in and out: numbers are int or Decimal on the way in, and leave as exactly the number they are."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import orjson
from django.http import HttpResponse

from config.errors import InvalidInput

# Beyond these powers of ten a number is a mistake or an attack: written out, 1e999999999 fills the memory.
_LARGEST, _SMALLEST = 307, -400


def number(text: str) -> Decimal:
    """A JSON number with a point or an exponent, exact; far too small ones are 0. Raises InvalidInput for far too
    large ones."""
    value = Decimal(text)
    if value and value.adjusted() > _LARGEST:
        raise InvalidInput(f"The body holds a number beyond 10^{_LARGEST + 1}.")
    return value if value and value.adjusted() >= _SMALLEST else Decimal(0)


_anything = msgspec.json.Decoder(float_hook=number)

# What is stored of a request (metadata, properties) must be writable again; orjson stops at 254 levels.
_DEEPEST = 64


def decode(body: bytes, decoder: msgspec.json.Decoder[Any] = _anything) -> Any:
    """What the body says; an empty body says `{}`.

    `decoder` may read straight into a Struct. Raises InvalidInput for what isn't JSON, is nested too deeply,
    misses the Struct's shape, or holds a NUL character, which PostgreSQL can't store.
    """
    try:
        data = decoder.decode(body or b"{}")
    except msgspec.ValidationError as problem:
        raise InvalidInput(_sentence(str(problem))) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(f"The body isn't valid JSON: {problem}. Send one JSON object.") from problem
    if b"\\u0000" in body:
        _refuse_nul(_anything.decode(body), "")
    if body.count(b"{") + body.count(b"[") > _DEEPEST and _depth(_anything.decode(body)) > _DEEPEST:
        raise InvalidInput(f"The body is nested more than {_DEEPEST} levels deep.")
    return data


def encode(data: Any) -> bytes:
    """`data` as JSON; Decimals become plain numbers (`50`, not `50.0`), every digit kept."""
    try:
        return orjson.dumps(data, default=_encode_other)
    except TypeError as problem:
        if "64-bit" not in str(problem):
            raise
    return orjson.dumps(_with_large_ints(data), default=_encode_other)


def reply(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer with `data` as its JSON body."""
    return HttpResponse(encode(data), status=status, headers=headers, content_type="application/json")


def canonical(data: Any) -> bytes:
    """The same bytes for the same decoded JSON, whatever the order of its keys."""
    return msgspec.json.encode(data, order="deterministic")


def _encode_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise TypeError(f"{value} isn't a JSON number")
        digits = format(value, "f")
        if "." in digits:
            digits = digits.rstrip("0").rstrip(".")
        return orjson.Fragment("0" if digits == "-0" else digits)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _with_large_ints(value: Any) -> Any:
    """orjson writes integers up to 64 bits; as Decimals they may be any size."""
    if isinstance(value, dict):
        return {key: _with_large_ints(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_large_ints(inner) for inner in value]
    if isinstance(value, int) and value.bit_length() > 63:
        return Decimal(value)
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _sentence(problem: str) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.customer_id`" with the field in front."""
    what, _, where = problem.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    return f"{path}: {what}." if path else f"{what}."


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput(f"{path or 'The body'} holds a NUL character. Leave it out.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key, f"A key in {path or 'the body'}")
            _refuse_nul(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{path}[{index}]")
