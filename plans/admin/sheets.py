"""The catalogue as tables for spreadsheets, out and in: columns are named as the API names fields, by their path.

django-import-export carries the tables; what becomes of them is decided by the push that `atmn` and the API use, so
versions are kept and no rule is passed by. A column that is missing leaves things as they are.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import QuerySet
from import_export.instance_loaders import BaseInstanceLoader
from import_export.resources import Resource
from import_export.results import RowResult
from rest_framework import exceptions, serializers
from tablib import Dataset

from config import clock
from config.api.failures import first_problem
from config.errors import DomainError, InvalidInput
from plans.admin.columns import CLEARED, FEATURES, ITEM, ITEMS, PLANS, Column
from plans.api import in_use, shapes
from plans.api.serializers import CatalogFeatureInput, CatalogPlanInput, feature_changes, plan_changes
from plans.catalog import push as pushes
from plans.catalog.features import REASONS
from plans.catalog.push import FeatureChange, FeatureWish, PlanWish, Push, Wishes
from plans.catalog.versions import Change
from plans.models import Feature, Plan

MOST_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a row: how the library counts it, and a sentence."""

    kind: str
    text: str


class Sheet(Resource):
    """A table of the catalogue; `fates` are known once it was looked at, by the number of the row."""

    key: ClassVar[str]  # the column that names what a row is about
    columns: ClassVar[Sequence[Column]]

    class Meta:
        using_db = "default"
        instance_loader_class = BaseInstanceLoader  # no rows of models are loaded: the catalogue is, as a whole

    def __init__(self) -> None:
        super().__init__()
        self.fields = {column.column_name: column for column in self.columns}
        self.wishes = Wishes(keep_other_features=True, keep_other_plans=True)
        self.fates: dict[int, Fate] = {}
        self.fingerprint = ""

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        """Read the rows, and look what a push of them would do."""
        if unknown := [name for name in dataset.headers if name not in self.fields]:
            raise InvalidInput(f"The column {unknown[0]} is unknown. Known are {', '.join(self.fields)}.")
        if self.key not in dataset.headers:
            raise InvalidInput(f"The first line has to name the columns; {self.key} is missing.")
        if len(dataset) > MOST_ROWS:
            raise InvalidInput(f"Bring at most {MOST_ROWS:,} rows at once.")
        groups = self.groups([dict(zip(dataset.headers, cells, strict=False)) for cells in dataset])
        self.wishes = self.wished(groups)
        if self.fates:  # rows that make no sense; nothing is pushed
            return
        found = pushes.preview(wishes=self.wishes, holdings=in_use)
        self.fingerprint = hashlib.sha256(repr((found.features, found.plans)).encode()).hexdigest()[:32]
        for rows, fate in zip(groups.values(), self.told(found), strict=True):
            self.fates |= dict.fromkeys((number for number, _ in rows), fate)

    def import_row(self, row: Any, instance_loader: Any, **kwargs: Any) -> RowResult:
        """What becomes of one row. Nothing is written by rows: the whole is pushed in the end."""
        result = RowResult()
        fate = self.fates.get(kwargs["row_number"], Fate(RowResult.IMPORT_TYPE_SKIP, "Not looked at"))
        result.import_type, result.diff = fate.kind, [fate.text]
        if fate.kind == RowResult.IMPORT_TYPE_ERROR:
            result.errors.append(self.get_error_result_class()(InvalidInput(fate.text), row, kwargs["row_number"]))
        return result

    def after_import(self, dataset: Dataset, result: Any, **kwargs: Any) -> None:
        """Push, all of it or nothing."""
        if not kwargs.get("dry_run", True) and not result.has_errors():
            pushes.push(wishes=self.wishes, holdings=in_use, at=clock.now())

    def groups(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, Mapping[str, Any]]]]:
        """The rows with their numbers, by what they are about, in the order of the table."""
        found: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for number, row in enumerate(rows, start=1):
            found.setdefault(str(row[self.key]).strip(), []).append((number, row))
        return found

    def wished(self, groups: Mapping[str, list[tuple[int, Mapping[str, Any]]]]) -> Wishes:
        """The table as the catalogue wants it; rows that make no sense get their fate."""
        raise NotImplementedError

    def told(self, found: Push) -> Iterable[Fate]:
        """What becomes of each wish, in their order."""
        raise NotImplementedError

    def body(self, row: Mapping[str, Any], columns: Iterable[Column], prefix: str = "") -> dict[str, Any]:
        """The cells of a row as the API takes them; what is empty is left out, or cleared where that says something."""
        given: dict[str, Any] = {}
        top_level: set[str] = set()
        for column in columns:
            if column.column_name not in row:
                continue
            try:
                value = column.widget.clean(row[column.column_name])
            except (ValueError, DomainError) as wrong:
                raise InvalidInput(f"{column.column_name}: {wrong}.") from wrong
            top, _, leaf = column.column_name.removeprefix(prefix).partition(".")
            is_empty = value is None or value == ""
            if leaf:
                given.setdefault(top, {}).update({} if is_empty else {leaf: value})
                continue
            top_level.add(top)
            if not is_empty or top in CLEARED:
                given[top] = CLEARED[top] if is_empty else value
        for name in [name for name, value in given.items() if value == {} and name not in top_level]:
            if name in CLEARED:
                given[name] = CLEARED[name]
            else:
                del given[name]
        return given

    def checked(self, shape: type[serializers.Serializer[Any]], rows: Any, make: Any) -> dict[str, Any] | None:
        """What the API would read; None where it refuses, which the rows are told."""
        try:
            serializer = shape(data=make())
            serializer.is_valid(raise_exception=True)
            data: dict[str, Any] = serializer.validated_data
        except (DomainError, exceptions.ValidationError) as problem:
            text = problem.message if isinstance(problem, DomainError) else first_problem(problem.get_full_details())
            fate = Fate(RowResult.IMPORT_TYPE_ERROR, text)
            self.fates |= dict.fromkeys((number for number, _ in rows), fate)
            return None
        return data


class FeatureSheet(Sheet):
    """A row for each feature."""

    key, columns = "feature_id", FEATURES

    def rows_of(self, chosen: QuerySet[Any]) -> list[dict[str, Any]]:
        """Features as the API shows them."""
        features = Feature.objects.with_credit_costs().filter(pk__in=chosen.values("pk")).order_by("pk")
        shown = [shapes.feature(feature) for feature in features]
        return [{**one, "feature_id": one["id"]} for one in shown]

    def wished(self, groups: Mapping[str, list[tuple[int, Mapping[str, Any]]]]) -> Wishes:
        """One wish for each row."""
        wishes = []
        for rows in groups.values():
            if len(rows) > 1:
                fate = Fate(RowResult.IMPORT_TYPE_ERROR, "comes twice. Keep one.")
                self.fates |= dict.fromkeys((number for number, _ in rows), fate)
                continue
            row = rows[0][1]
            data = self.checked(CatalogFeatureInput, rows, lambda row=row: self.body(row, FEATURES))
            if data is not None:
                wishes.append(FeatureWish(data["feature_id"], feature_changes(data)))
        return Wishes(features=wishes, keep_other_features=True, keep_other_plans=True)

    def told(self, found: Push) -> Iterable[Fate]:
        """New, changed, the same, or why it can't be."""
        return [_fate_of_feature(change) for change in found.features]


class PlanSheet(Sheet):
    """A row for each item of each plan; what is said of the plan stands in the first of its rows."""

    key, columns = "plan_id", [*PLANS, *ITEMS]

    def rows_of(self, chosen: QuerySet[Any]) -> list[dict[str, Any]]:
        """The newest versions as the API shows them, an item in each row."""
        plans = Plan.objects.newest().with_items().filter(slug__in=chosen.values("slug")).order_by("pk")
        rows: list[dict[str, Any]] = []
        for plan in plans:
            shown = shapes.plan(plan)
            items = [{"item": item} for item in shown["items"]] or [{}]
            rows += [{**(shown if n == 0 else {}), "plan_id": shown["id"], **item} for n, item in enumerate(items)]
        return rows

    def wished(self, groups: Mapping[str, list[tuple[int, Mapping[str, Any]]]]) -> Wishes:
        """One wish for each plan."""
        wishes = []
        for rows in groups.values():
            data = self.checked(CatalogPlanInput, rows, lambda rows=rows: self._plan(rows))
            if data is not None:
                wishes.append(PlanWish(data["plan_id"], plan_changes(data)))
        return Wishes(plans=wishes, keep_other_features=True, keep_other_plans=True)

    def told(self, found: Push) -> Iterable[Fate]:
        """New, changed in place or as a version, or the same."""
        return [_fate_of_plan(change) for change in found.plans]

    def _plan(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
        given = self.body(rows[0][1], PLANS)
        if f"{ITEM}feature_id" in rows[0][1]:
            items = [self.body(row, ITEMS, ITEM) for _, row in rows]
            given["items"] = [
                {name: value for name, value in item.items() if value is not None}
                for item in items
                if item.get("feature_id")
            ]
        return given


def _fate_of_feature(change: FeatureChange) -> Fate:
    if change.blocked:
        return Fate(RowResult.IMPORT_TYPE_ERROR, f"{change.slug}: {REASONS.get(change.blocked, change.blocked)}")
    kinds = {
        "create": Fate(RowResult.IMPORT_TYPE_NEW, "New"),
        "update": Fate(RowResult.IMPORT_TYPE_UPDATE, "Changed"),
    }
    return kinds.get(change.action, Fate(RowResult.IMPORT_TYPE_SKIP, "Stays as it is"))


def _fate_of_plan(change: Change) -> Fate:
    if change.action == "created":
        return Fate(RowResult.IMPORT_TYPE_NEW, "New plan")
    if change.action != "updated":
        return Fate(RowResult.IMPORT_TYPE_SKIP, "Stays as it is")
    if change.new_version is None:
        return Fate(RowResult.IMPORT_TYPE_UPDATE, "Changed in place: nobody's terms move")
    kept = f"; {change.customers} on version {change.new_version - 1} keep it" if change.customers else ""
    return Fate(RowResult.IMPORT_TYPE_UPDATE, f"Becomes version {change.new_version}{kept}")


SHEETS: Mapping[str, type[FeatureSheet | PlanSheet]] = {"features": FeatureSheet, "plans": PlanSheet}
