"""The groups of the back-office: Read only, Support, Billing; and a permission for each action that staff can take."""

from django.db import migrations

ACTIONS = {
    "can_add_seat": "Can add and rename seats, workspaces and other entities",
    "can_remove_seat": "Can remove seats, workspaces and other entities",
    "can_attach_plan": "Can attach and change plans",
    "can_cancel_plan": "Can cancel plans and take cancellations back",
    "can_extend_trial": "Can extend trials",
    "can_grant_balance": "Can grant balances and end those granted by hand",
    "can_adjust_balance": "Can adjust and refill balances and undo that",
    "can_finalize_hold": "Can release and confirm holds",
    "can_settle_invoice": "Can pay and void invoices",
    "can_turn_clock": "Can turn test clocks",
    "can_set_card": "Can set sandbox cards",
    "can_approve": "Can approve what another member of staff asked for",
    "can_import": "Can import customers, entities and usage from CSV",
}
SEEN = {
    "admin": ["logentry"],
    "plans": ["feature", "creditcost", "plan", "planitem"],
    "entities": ["customer", "entity"],
    "billing": [
        "subscription", "balance", "ledgerentry", "usageevent", "invoice", "hold", "operation", "processorevent",
        "approval", "bulkjob", "bulkrow",
    ],
}
SUPPORT = [
    "can_add_seat", "can_remove_seat", "can_grant_balance", "can_adjust_balance", "can_finalize_hold",
    "can_turn_clock", "can_set_card",
]
EDITED_BY_SUPPORT = {"entities": ["customer"]}
EDITED_BY_BILLING = {**EDITED_BY_SUPPORT, "plans": ["feature", "creditcost", "plan", "planitem"]}


def make_groups(apps, schema_editor):
    actions = [permission(apps, "billing", "operation", code, name) for code, name in ACTIONS.items()]
    seen = model_permissions(apps, SEEN, "view")
    support = [action for action in actions if action.codename in SUPPORT]
    groups = {
        "Read only": seen,
        "Support": [*seen, *support, *model_permissions(apps, EDITED_BY_SUPPORT, "add", "change")],
        "Billing": [
            *seen, *actions, *model_permissions(apps, EDITED_BY_BILLING, "add", "change"),
            *model_permissions(apps, {"plans": ["creditcost", "planitem"]}, "delete"),
        ],
    }
    for name, permissions in groups.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*permissions)


def model_permissions(apps, models, *verbs):
    return [
        permission(apps, app, model, f"{verb}_{model}", f"Can {verb} {model}")
        for app, names in models.items()
        for model in names
        for verb in verbs
    ]


def permission(apps, app, model, codename, name):
    # Django makes its own only after all migrations; those that are there by then it leaves alone.
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app, model=model)
    made, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": name}
    )
    return made


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("plans", "0001_initial"),
        ("entities", "0001_initial"),
        ("billing", "0001_initial"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
