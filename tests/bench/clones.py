"""Customers by the thousand: one that was made through the API, copied with all its rows by a few statements."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import DateTimeField, Field, ForeignKey, Model

from billing.models import (
    Balance,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Operation,
    SandboxCard,
    SandboxInvoice,
    SandboxSubscription,
    Subscription,
    SubscriptionItem,
)
from entities.models import Customer, Entity

# Parents before children.
_TABLES: tuple[type[Model], ...] = (
    Customer,
    Entity,
    Operation,
    Subscription,
    SubscriptionItem,
    Balance,
    LedgerEntry,
    Invoice,
    InvoiceLine,
    SandboxCard,
    SandboxInvoice,
    SandboxSubscription,
)
# Columns without a foreign key that hold a key of ours, and texts that are one customer's.
_KEYS = {"customer_id", "entity_id", "operation_id"}
_NAMES = {"external_id", "public_id", "processor_id", "processor_subscription_id", "subscription_id", "customer_id"}
_NAMES |= {"invoice_id", "idempotency_key", "number"}
# More than the template has rows in any table.
_STRIDE = 100_000


def copy(times: int, *, apart: timedelta) -> None:
    """Copy every row there is `times` times, each copy `apart` later than the one before; texts get a suffix."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in _TABLES:
            table = model._meta.db_table
            fields = model._meta.concrete_fields
            columns = ", ".join(f'"{field.column}"' for field in fields)
            values = ", ".join(_value(field) for field in fields)
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} t, generate_series(1, %(times)s) AS n"
                " ORDER BY n, t.id",
                {"times": times, "apart": str(apart), "stride": _STRIDE},
            )
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT COALESCE(max(id), 1) FROM {table}))"
            )


def _value(field: "Field[object, object]") -> str:
    column = f't."{field.column}"'
    if field.primary_key or (field.get_internal_type() == "BigIntegerField" and field.column in _KEYS):
        return f"{column} + n * %(stride)s"
    if isinstance(field, ForeignKey):
        return f"{column} + n * %(stride)s" if field.related_model in _TABLES else column
    if isinstance(field, DateTimeField):
        return f"{column} + n * %(apart)s::interval"
    if field.column in _NAMES and field.get_internal_type() == "CharField":
        return f"CASE WHEN {column} = '' THEN '' ELSE {column} || '~' || n END"
    return column
