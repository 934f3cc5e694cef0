"""Webhooks: seen by all groups, sent again by Support and Billing, edited by Billing."""

from django.db import migrations

EVERYBODY = ["Read only", "Support", "Billing"]
MADE = {
    ("webhookendpoint", "view_webhookendpoint"): ("Can view webhook endpoint", EVERYBODY),
    ("webhookdelivery", "view_webhookdelivery"): ("Can view webhook delivery", EVERYBODY),
    ("webhookdelivery", "can_resend_webhook"): ("Can send webhooks again, and tests", ["Support", "Billing"]),
    ("webhookendpoint", "can_edit_webhook"): ("Can add, change and remove webhook endpoints", ["Billing"]),
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
    dependencies = [("access", "0002_staff_groups"), ("billing", "0005_webhooks")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
