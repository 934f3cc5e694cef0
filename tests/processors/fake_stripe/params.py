"""Form bodies as the SDK writes them, read back and checked against the SDK's own parameter types."""

import re
import types
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin
from urllib.parse import parse_qsl

from typing_extensions import get_type_hints, is_typeddict

from tests.processors.fake_stripe.errors import Refused

_OPTIONS = {
    "api_key", "idempotency_key", "stripe_account", "stripe_context", "stripe_version", "headers",
    "max_network_retries", "content_type",
}  # fmt: skip
_WRAPPERS = (NotRequired, Required)


def read(encoded: str, shape: Any) -> dict[str, Any]:
    """The parameters of a form, typed; raises Refused for what is unknown, missing or of another type."""
    found: dict[str, Any] = typed(_nested(encoded), shape, "")
    return found


def _nested(encoded: str) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded)):
        keys = [name.split("[", 1)[0], *re.findall(r"\[([^\]]*)\]", name)]
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        if keys[-1] in node:
            raise Refused(f"Invalid parameter: {name} was given twice.", param=name)
        node[keys[-1]] = value
    return root


def typed(value: Any, hint: Any, path: str) -> Any:
    """`value` as `hint` says."""
    origin = get_origin(hint)
    if origin in _WRAPPERS:
        return typed(value, get_args(hint)[0], path)
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(hint), path)
    if origin is Literal:
        if value in get_args(hint):
            return value
        if value in ("true", "false") and (value == "true") in get_args(hint):
            return value == "true"
        raise Refused(f"Invalid {path}: must be one of {', '.join(map(str, get_args(hint)))}", param=path)
    if is_typeddict(hint):
        return _object(value, hint, path)
    if origin in (list, dict):
        return _collection(value, origin, get_args(hint), path)
    return _plain(value, hint, path)


def _one_of(value: Any, choices: tuple[Any, ...], path: str) -> Any:
    # Literals are open in the SDK (`Literal[...] | str`); here they are not: a typo would go unnoticed otherwise.
    literals = [choice for choice in choices if get_origin(choice) is Literal and get_args(choice) != ("",)]
    first: Refused | None = None
    for choice in choices:
        if choice is str and literals:
            continue
        try:
            return typed(value, choice, path)
        except Refused as refused:
            if first is None or refused.unknown:
                first = refused
    raise first or Refused(f"Invalid {path}", param=path)


def _object(value: Any, hint: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"Invalid object: {path}", param=path)
    hints = _hints(hint)
    found = {}
    for name, inner in value.items():
        place = f"{path}[{name}]" if path else name
        if name not in hints:
            raise Refused(f"Received unknown parameter: {place}", param=place, code="parameter_unknown")
        found[name] = typed(inner, hints[name], place)
    for name in hint.__required_keys__ & hints.keys():
        if name not in found:
            place = f"{path}[{name}]" if path else name
            raise Refused(f"Missing required param: {place}.", param=place, code="parameter_missing")
    return found


@cache
def _hints(hint: Any) -> dict[str, Any]:
    found = get_type_hints(hint, localns={"StripeContext": str, "Mapping": dict})
    return {name: inner for name, inner in found.items() if name not in _OPTIONS}


def _collection(value: Any, origin: Any, inner: tuple[Any, ...], path: str) -> Any:
    if not isinstance(value, dict):
        raise Refused(f"Invalid {'array' if origin is list else 'object'}: {path}", param=path)
    if origin is dict:
        if any(not isinstance(text, str) or len(name) > 40 or len(text) > 500 for name, text in value.items()):
            raise Refused(f"Metadata names have up to 40 characters, values up to 500: {path}", param=path)
        return dict(value)
    if sorted(value) != sorted(str(n) for n in range(len(value))):
        raise Refused(f"Invalid array: {path}", param=path)
    return [typed(value[str(n)], inner[0], f"{path}[{n}]") for n in range(len(value))]


def _plain(value: Any, hint: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise Refused(f"Invalid string: {path}", param=path)
    if hint is str or hint is Any:
        if not value:
            raise Refused(f"You passed an empty string for '{path}'.", param=path, code="parameter_invalid_empty")
        return value
    if hint is bool:
        if value not in ("true", "false"):
            raise Refused(f"Invalid boolean: {value}", param=path)
        return value == "true"
    if hint is int:
        if not re.fullmatch(r"-?\d+", value):
            raise Refused(f"Invalid integer: {value}", param=path, code="parameter_invalid_integer")
        return int(value)
    if hint in (Decimal, float):
        if not re.fullmatch(r"-?\d+(\.\d+)?", value):
            raise Refused(f"Invalid decimal: {value}", param=path)
        return Decimal(value)
    raise Refused(f"The fake can't read {hint} at {path}.", param=path)
