"""The wire: how requests are read, answers written and failures told, the same for every call under /v1."""

from config.api.endpoint import Endpoint, Keyed, by_method
from config.api.failures import exception_handler, failure
from config.api.fields import IdField, MoneyField, QuantityField, TimestampField, milliseconds, moment, quantity
from config.api.json import decode, encode, reply
from config.api.middleware import ApiMiddleware
from config.api.versions import Version, api_version

__all__ = [
    "ApiMiddleware",
    "Endpoint",
    "IdField",
    "Keyed",
    "MoneyField",
    "QuantityField",
    "TimestampField",
    "Version",
    "api_version",
    "by_method",
    "decode",
    "encode",
    "exception_handler",
    "failure",
    "milliseconds",
    "moment",
    "quantity",
    "reply",
]
