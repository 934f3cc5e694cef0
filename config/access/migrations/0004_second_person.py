"""Approving what is large, and importing from CSV: for Billing; to be seen by all groups."""

from django.db import migrations

MADE = {
    ("operation", "can_approve"): ("Can approve what another member of staff asked for", ["Billing"]),
    ("operation", "can_import"): ("Can import customers, entities and usage from CSV", ["Billing"]),
    ("approval", "view_approval"): ("Can view approval", ["Read only", "Support", "Billing"]),
    ("csvimport", "view_csvimport"): ("Can view csv import", ["Read only", "Support", "Billing"]),
}


def give(apps, schema_editor):
    for (model, codename), (name, groups) in MADE.items():
        kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label="billing", model=model)
        permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
            content_type=kind, codename=codename, defaults={"name": name}
        )
        for group in apps.get_model("auth", "Group").objects.filter(name__in=groups):
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("access", "0003_key_place"), ("billing", "0009_approvals")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
