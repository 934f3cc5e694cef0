"""The rules of the house that a program can check."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import models

from config import clock
from config.access import keys

PACKAGES = ("config", "plans", "entities", "billing")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (settings.BASE_DIR / package).rglob("*.py")
    if "migrations" not in path.parts
)
WALL_CLOCKS = {"now", "utcnow", "today", "localtime", "localdate", "time"}
CONVERTERS = {"localtime", "localdate"}
CLOCK_OWNERS = {"datetime", "timezone", "date", "time"}


def name_of(path: Path) -> str:
    return str(path.relative_to(settings.BASE_DIR))


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_deployment_with_its_settings_passes_every_check() -> None:
    environment = {
        # Without what the browser tests set for this process.
        **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_ALLOW_")},
        "DATABASE_URL": "postgres://billing:secret@db.invalid/billing",
        "SECRET_KEY": "".join(chr(33 + n % 90) for n in range(0, 600, 7)),
        "ALLOWED_HOSTS": "billing.example.com",
        "DEBUG": "false",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::DeprecationWarning",
            "manage.py",
            "check",
            "--deploy",
            "--fail-level",
            "WARNING",
        ],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def security_ids() -> set[str]:
    return {message.id or "" for message in run_checks(tags=[Tags.security])}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, set()),
        ({"ENVIRONMENT": "production"}, {"subledger.E001"}),
        ({"ENVIRONMENT": "live"}, {"subledger.E002"}),
        (
            {
                "ENVIRONMENT": "live",
                "STRIPE_SECRET_KEY": "sk_live_1",
                "STRIPE_WEBHOOK_SECRET": "whsec_1",
                "DEBUG": True,
            },
            {"subledger.E003"},
        ),
        ({"STRIPE_SECRET_KEY": "rk_live_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}, {"subledger.E004"}),
        (
            {"ENVIRONMENT": "live", "STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"},
            {"subledger.E004"},
        ),
        ({"STRIPE_SECRET_KEY": "sk_test_1"}, {"subledger.E005"}),
        ({"STRIPE_SECRET_KEY": "pk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}, {"subledger.E008"}),
        ({"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "we_1"}, {"subledger.E008"}),
        ({"SECRET_KEY": settings.INSECURE_SECRET_KEY}, {"subledger.E006"}),
        ({"SECRET_KEY": settings.INSECURE_SECRET_KEY, "DEBUG": True}, set()),
        ({"INVOICE_FONTS": ["/nowhere/font.otf"]}, {"subledger.E007"}),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_told(
    settings: Any, values: dict[str, Any], expected: set[str]
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert security_ids() == expected


@pytest.mark.django_db
def test_a_deployment_without_an_api_key_is_told() -> None:
    def found() -> set[str]:
        return {message.id or "" for message in run_checks(tags=[Tags.database], databases=["default"])}

    assert "subledger.W001" in found()
    keys.create(name="Website", at=clock.now())
    assert "subledger.W001" not in found()


def _reads_clock(node: ast.AST) -> bool:
    """A clock is called; `timezone.localtime(at)` only turns a time into another zone's."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    name, owner = node.func.attr, node.func.value
    is_clock = name in WALL_CLOCKS and isinstance(owner, ast.Name) and owner.id in CLOCK_OWNERS
    return is_clock and not (name in CONVERTERS and node.args)


def test_the_wall_clock_is_read_in_one_place() -> None:
    readers: list[str] = []
    for path in SOURCES:
        if path == settings.BASE_DIR / "config" / "clock.py":
            continue
        readers.extend(
            f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            for node in ast.walk(ast.parse(path.read_text()))
            if _reads_clock(node) or (isinstance(node, ast.keyword) and node.arg in {"auto_now", "auto_now_add"})
        )
    assert readers == []


def test_nothing_is_a_float() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Name) and node.id == "FloatField")
        or (isinstance(node, ast.Attribute) and node.attr == "FloatField")
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float")
    ]
    # A customer's metadata is given back, never computed with, and JSON columns hold no decimals.
    assert [place for place in found if not place.startswith("plans/api/fields.py:")] == []
    columns = [
        f"{model.__name__}.{field.name}"
        for model in apps.get_models()
        if model.__module__.split(".")[0] in PACKAGES
        for field in model._meta.get_fields()
        if isinstance(field, models.FloatField)
    ]
    assert columns == []


def test_imports_stand_at_the_top() -> None:
    inside = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_texts_are_never_null() -> None:
    nullable = [
        f"{model.__name__}.{field.name}"
        for model in apps.get_models()
        if model.__module__.split(".")[0] in PACKAGES
        for field in model._meta.get_fields()
        if isinstance(field, models.CharField | models.TextField) and field.null and not field.choices
    ]
    assert nullable == []


def test_the_top_level_holds_what_was_agreed() -> None:
    shown = subprocess.run(
        ["git", "ls-files"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not shown:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in shown}
    assert {name for name in top if not name.startswith(".")} <= {
        "manage.py", "pyproject.toml", "README.md", "billing", "entities", "plans", "config", "tests",
    }  # fmt: skip
    assert not [name for name in shown if Path(name).stem in {"utils", "helpers", "common", "core"}]
