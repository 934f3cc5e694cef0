"""Plans made, changed and removed one by one; each call locks the catalogue in a transaction of its own.

What customers agreed to (price, trial, items, controls) is a version's own: changing it makes the next version as soon
as a customer has ever held this one. Name, description, group, metadata and the switches belong to all versions and are
changed in place, since nobody's terms move with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from django.db import transaction
from django.db.models import ProtectedError

from config.errors import InvalidInput, InvalidRequest
from plans.catalog import rules, store
from plans.catalog.specs import PlanSpec
from plans.catalog.store import Catalogue, Holdings, InUse
from plans.errors import PlanExists, PlanInUse, PlanLicensed, PlanNotFound
from plans.models import Plan, PlanLicense

type Settle = Callable[[PlanSpec], PlanSpec]


@dataclass(frozen=True, slots=True)
class Editing:
    """Which version an edit is for (None: the latest), and whether it may edit what customers hold.

    `disable_version` edits in place, `all_versions` edits all of them in place, `force_version` makes a version though
    nobody holds this one. Customers keep the terms they have in any case: those are copied when a plan is attached.
    """

    version: int | None = None
    disable_version: bool = False
    all_versions: bool = False
    force_version: bool = False

    def __post_init__(self) -> None:
        if self.disable_version and self.all_versions:
            raise InvalidInput("disable_version and all_versions exclude each other. Send one of them.")
        if self.force_version and (self.disable_version or self.all_versions):
            raise InvalidInput("force_version excludes disable_version and all_versions. Send one of them.")


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit of one plan comes to."""

    action: Literal["created", "updated", "deleted", "skipped", "none"]
    slug: str
    before: PlanSpec | None = None
    after: PlanSpec | None = None
    new_version: int | None = None  # the number of the version it makes
    rewrites: tuple[tuple[Plan, PlanSpec], ...] = ()  # versions whose terms change in place
    has_customers: bool = False
    customers: int = 0
    will_archive: bool = False


def get(plan_id: str, version: int | None = None) -> Plan:
    """A version (None: the latest) with its items; raises PlanNotFound."""
    rows = Plan.objects.with_items().filter(slug=plan_id)
    plan = (rows.filter(version=version) if version is not None else rows.newest()).first()
    if plan is None:
        raise PlanNotFound(plan_id, version)
    return plan


@transaction.atomic
def create(*, spec: PlanSpec, at: datetime) -> Plan:
    """A new plan; raises PlanExists, FeatureNotFound, InvalidInput."""
    store.lock()
    catalogue = Catalogue.load(plan_ids=[spec.slug])
    if spec.slug in catalogue.plans:
        raise PlanExists(spec.slug)
    specs = catalogue.specs()
    spec = rules.plan(spec, specs)
    check_archived_features(spec, None, specs)
    plan = store.add_version(spec, 1, catalogue.features, at=at)
    check_auto_enable(spec.group)
    check_licenses(specs)
    return get(plan.slug)


@transaction.atomic
def update(
    *,
    plan_id: str,
    changes: Mapping[str, Any],
    editing: Editing,
    holdings: Holdings,
    at: datetime,
    new_plan_id: str | None = None,
) -> Plan:
    """Change the given fields, in place or as a new version, and answer the version that has them.

    Raises PlanNotFound, FeatureNotFound, InvalidInput, InvalidRequest; PlanInUse for a new id of a plan with customers.
    """
    store.lock()
    catalogue = Catalogue.load(plan_ids=[plan_id])
    versions = catalogue.plans.get(plan_id)
    if versions is None:
        raise PlanNotFound(plan_id)
    in_use = holdings.of(versions, ())
    specs = catalogue.specs()
    change = decide(versions, changes, editing, in_use, lambda spec: rules.plan(spec, specs))
    after = cast(PlanSpec, change.after)
    check_archived_features(after, change.before, specs)
    number = apply(change, catalogue, at=at) or editing.version
    check_auto_enable(after.group)
    check_licenses(specs)
    if new_plan_id is not None and new_plan_id != plan_id:
        _rename(versions, new_plan_id, in_use)
        return get(new_plan_id, number)
    return get(plan_id, number)


def _rename(versions: Sequence[Plan], new_id: str, in_use: InUse) -> None:
    if Plan.objects.filter(slug=new_id).exists():
        raise PlanExists(new_id)
    if any(plan.pk in in_use.plans for plan in versions):
        raise PlanInUse(versions[0].slug, "Its id stays. Create a new plan instead.")
    PlanLicense.objects.filter(license_slug=versions[0].slug).update(license_slug=new_id)
    Plan.objects.filter(slug=versions[0].slug).update(slug=new_id)


@transaction.atomic
def delete(*, plan_id: str, all_versions: bool, holdings: Holdings, at: datetime) -> None:
    """Remove the latest version or all of them; raises PlanNotFound, PlanInUse."""
    store.lock()
    versions = list(Plan.objects.filter(slug=plan_id).order_by("-version"))
    if not versions:
        raise PlanNotFound(plan_id)
    doomed = versions if all_versions else versions[:1]
    if holdings.of(doomed, ()).plans:
        raise PlanInUse(plan_id, "Archive it instead with plans.update archived true.")
    remove(doomed, at=at)
    if not Plan.objects.filter(slug=plan_id).exists():
        _check_unlicensed(plan_id)


def _check_unlicensed(plan_id: str) -> None:
    offering = Plan.objects.filter(licenses__license_slug=plan_id).order_by("slug").first()
    if offering is not None:
        raise PlanLicensed(plan_id, offering.slug)


def remove(versions: Sequence[Plan], *, at: datetime) -> None:
    """Delete versions of one plan that no customer has or had; the highest that is left becomes the latest.

    What history still refers to (an invoice never paid, a deleted customer) is only marked as deleted.
    """
    for plan in versions:
        try:
            plan.delete()
        except ProtectedError:
            Plan.objects.filter(pk=plan.pk).update(deleted_at=at, is_latest=False)
    left = Plan.objects.filter(slug=versions[0].slug).order_by("-version").first()
    if left is not None and not left.is_latest:
        Plan.objects.filter(pk=left.pk).update(is_latest=True)


def decide(
    versions: Sequence[Plan],
    changes: Mapping[str, Any],
    editing: Editing,
    in_use: InUse,
    settle: Settle,
) -> Change:
    """What `changes` come to for an existing plan; `versions` newest first. Nothing is written."""
    latest = versions[0]
    target = next((plan for plan in versions if plan.version == (editing.version or latest.version)), None)
    if target is None:
        raise PlanNotFound(latest.slug, editing.version)
    before = PlanSpec.of(target)
    wanted = before.patched(changes)
    if target is not latest:  # an old version has terms of its own, and the rest from the latest
        wanted = replace(wanted, **before.shared(), archived=before.archived)
    after = settle(wanted)
    has_customers = target.pk in in_use.plans
    change = Change(
        "none" if after == before and not editing.force_version else "updated",
        latest.slug,
        before=before,
        after=after,
        has_customers=has_customers,
        customers=in_use.plans.get(target.pk, 0),
    )
    in_place = editing.disable_version or editing.all_versions
    differs = not after.has_terms_of(before)
    if editing.force_version or (differs and has_customers and not in_place):
        if target is not latest:
            raise InvalidRequest(
                f"version {target.version} of plan {latest.slug} has customers and isn't the latest. "
                "Leave version out, or send disable_version true to edit it in place."
            )
        return replace(change, new_version=latest.version + 1)
    if editing.all_versions:
        return replace(change, rewrites=tuple(_rewrites(versions, changes, settle)))
    reorders = (after.items, after.licenses) != (before.items, before.licenses)
    return replace(change, rewrites=((target, after),) if reorders or differs else ())


def _rewrites(versions: Sequence[Plan], changes: Mapping[str, Any], settle: Settle) -> list[tuple[Plan, PlanSpec]]:
    """The same changes for each version."""
    specs = [(plan, PlanSpec.of(plan)) for plan in versions]
    return [(plan, settle(spec.patched(changes))) for plan, spec in specs]


def apply(change: Change, catalogue: Catalogue, *, at: datetime) -> int | None:
    """Write a creation or an update; returns the number of the version that was made."""
    if change.after is None or change.action not in ("created", "updated"):
        return None
    if change.action == "updated":
        store.write_shared(change.after, at=at)
    for plan, spec in change.rewrites:
        store.write_terms(plan, spec, catalogue.features)
    if change.new_version is not None:
        store.add_version(change.after, change.new_version, catalogue.features, at=at)
    return change.new_version


def check_archived_features(after: PlanSpec, before: PlanSpec | None, features: rules.Features) -> None:
    """New items are of live features; raises InvalidRequest."""
    known = {item.feature for item in before.items} if before else set()
    for item in after.items:
        if item.feature not in known and features[item.feature].archived:
            raise InvalidRequest(
                f"Feature {item.feature} is archived. Bring it back with features.update archived false first."
            )


def check_auto_enable(group: str) -> None:
    """A new customer gets at most one main plan of a group; raises InvalidRequest."""
    enabled = Plan.objects.enabled_for_new_customers().filter(group=group, is_add_on=False)
    slugs = list(enabled.order_by("slug").values_list("slug", flat=True))
    if len(slugs) > 1:
        raise both_enabled(slugs, group)


def check_licenses(features: rules.Features) -> None:
    """What the newest versions of all plans offer as licences can be one; raises InvalidInput, PlanNotFound."""
    if PlanLicense.objects.filter(plan__is_latest=True, plan__deleted_at=None).exists():
        rules.licenses({plan.slug: PlanSpec.of(plan) for plan in Plan.objects.newest().with_items()}, features)


def both_enabled(slugs: Sequence[str], group: str) -> InvalidRequest:
    """Two main plans of one group would start for a new customer."""
    of_group = f"of group {group}" if group else "without a group"
    return InvalidRequest(
        f"auto_enable: the plans {' and '.join(slugs)} {of_group} would both start for a new customer. "
        "Switch it off for one, or put them in different groups."
    )
