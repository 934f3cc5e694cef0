"""features.*, plans.* and catalog.* of the API, and the few REST calls that `atmn` needs."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest

from billing.api import reward_serializers, reward_views
from billing.services import rewards
from config import clock
from config.access.models import Scope
from config.api import Endpoint
from entities.subject import Subject
from plans.api import eligibility, in_use, previews, serializers, shapes
from plans.catalog import features, versions
from plans.catalog import push as pushes
from plans.catalog.push import FeatureWish, PlanWish, Wishes
from plans.catalog.specs import FeatureSpec, PlanSpec
from plans.catalog.versions import Editing
from plans.models import Feature, Plan


class CreateFeature(Endpoint):
    Input = serializers.CreateFeatureInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        spec = FeatureSpec(slug=data["feature_id"], **serializers.feature_changes(data))
        return shapes.feature(features.create(spec=spec, at=clock.now()))


class GetFeature(Endpoint):
    Input = serializers.FeatureIdInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        return shapes.feature(features.get(data["feature_id"]))


class ListFeatures(Endpoint):
    """All features, archived ones too: each says so itself, and `atmn push` brings them back by that."""

    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {"list": [shapes.feature(row) for row in Feature.objects.with_credit_costs().order_by("pk")]}


class UpdateFeature(Endpoint):
    Input = serializers.UpdateFeatureInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        row = features.update(
            feature_id=data["feature_id"],
            changes=serializers.feature_changes(data),
            holdings=in_use,
            at=clock.now(),
        )
        return shapes.feature(row)


class DeleteFeature(Endpoint):
    Input = serializers.FeatureIdInput
    methods = ("POST", "DELETE")

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        features.delete(feature_id=data["feature_id"], holdings=in_use, at=clock.now())
        return {"success": True}


class CreatePlan(Endpoint):
    Input = serializers.CreatePlanInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        spec = PlanSpec(data["plan_id"], data["name"]).patched(serializers.plan_changes(data))
        return shapes.plan(versions.create(spec=spec, at=clock.now()))


class GetPlan(Endpoint):
    Input = serializers.GetPlanInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        row = versions.get(data["plan_id"], data["version"])
        return _with_eligibility([row], data)[0]


class ListPlans(Endpoint):
    Input = serializers.ListPlansInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        rows = Plan.objects.with_items()
        if not data["all_versions"]:
            rows = rows.newest()
        if not data["include_archived"]:
            rows = rows.filter(archived_at=None)
        return {"list": _with_eligibility(list(rows.order_by("pk")), data)}


def _with_eligibility(rows: list[Plan], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The plans, each with what attaching it would mean for the customer that was named, if any."""
    if not data["customer_id"]:
        return [shapes.plan(row) for row in rows]
    subject = Subject.get(data["customer_id"], data["entity_id"])
    found = eligibility.of(rows, subject, at=subject.customer.now(clock.now()))
    return [shapes.plan(row, found[row.pk]) for row in rows]


class UpdatePlan(Endpoint):
    Input = serializers.UpdatePlanInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        row = versions.update(
            plan_id=data["plan_id"],
            changes=serializers.plan_changes(data),
            editing=_editing(data),
            new_plan_id=data.get("new_plan_id"),
            holdings=in_use,
            at=clock.now(),
        )
        return shapes.plan(row)


class DeletePlan(Endpoint):
    Input = serializers.DeletePlanInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        versions.delete(plan_id=data["plan_id"], all_versions=data["all_versions"], holdings=in_use, at=clock.now())
        return {"success": True}


class DeleteProduct(Endpoint):
    """DELETE /v1/products/{id}: `all_versions=true` comes in the query, as text."""

    methods = ("DELETE",)

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        all_versions = str(data.get("all_versions", "")).lower() == "true"
        versions.delete(plan_id=data["plan_id"], all_versions=all_versions, holdings=in_use, at=clock.now())
        return {"success": True}


class PreviewCatalog(Endpoint):
    Input = serializers.CatalogInput
    access = Scope.READ

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        changes = rewards.plan_push(_rewards(data), keeps_others=_keeps_rewards(data))
        return previews.push(pushes.preview(wishes=_wishes(data), holdings=in_use), changes)


class UpdateCatalog(Endpoint):
    Input = serializers.CatalogInput

    def handle(self, data: dict[str, Any], request: HttpRequest) -> Any:
        at = clock.now()
        with transaction.atomic():
            pushes.push(wishes=_wishes(data), holdings=in_use, at=at)
            rewards.push(rewards.plan_push(_rewards(data), keeps_others=_keeps_rewards(data)), at=at)
        feature_ids = [one["feature_id"] for one in data["features"]]
        plan_ids = [one["plan_id"] for one in data["plans"]]
        kept = Feature.objects.with_credit_costs().filter(slug__in=feature_ids).order_by("pk")
        plans = Plan.objects.with_items().newest().filter(slug__in=plan_ids).order_by("pk")
        return {
            "features": [shapes.feature(row) for row in kept],
            "plans": [shapes.plan(row) for row in plans],
            "rewards": [reward_views.reward(rewards.get(one.slug)) for one in _rewards(data)],
            "referral_programs": [],
        }


def _rewards(data: dict[str, Any]) -> list[rewards.Spec]:
    return [reward_serializers.spec(one) for one in data.get("rewards", [])]


def _keeps_rewards(data: dict[str, Any]) -> bool:
    return data["skip_deletions"] or "rewards" not in data


def _wishes(data: dict[str, Any]) -> Wishes:
    return Wishes(
        features=[FeatureWish(one["feature_id"], serializers.feature_changes(one)) for one in data["features"]],
        plans=[PlanWish(one["plan_id"], serializers.plan_changes(one), _editing(one)) for one in data["plans"]],
        # What isn't spoken of at all stays: an empty body must not empty the catalogue.
        keep_other_features=data["skip_deletions"] or not data["speaks_of_features"],
        keep_other_plans=data["skip_deletions"] or not data["speaks_of_plans"],
        skip_feature_ids=frozenset(data["skip_feature_ids"]),
        skip_plan_ids=frozenset(data["skip_plan_ids"]),
    )


def _editing(data: dict[str, Any]) -> Editing:
    return Editing(
        version=data.get("version"),
        disable_version=data["disable_version"],
        all_versions=data["all_versions"],
        force_version=data["force_version"],
    )


class ListReferralPrograms(Endpoint):
    """There are none; `atmn pull` asks."""

    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {"list": []}
