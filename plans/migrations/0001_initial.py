import django.contrib.postgres.fields
import django.db.models.deletion
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Feature',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(help_text='Used by applications; never changes.', max_length=120, verbose_name='feature id')),
                ('name', models.CharField(max_length=200)),
                ('type', models.CharField(choices=[('boolean', 'Boolean'), ('metered', 'Metered'), ('credit_system', 'Credit system'), ('ai_credit_system', 'AI credit system'), ('license', 'Licences (kept by the system: how many of a plan are bought and assigned)')], default='metered', max_length=20)),
                ('consumable', models.BooleanField(default=False, help_text='Usage is spent and comes back with a reset. Off: a standing count, such as seats.')),
                ('event_names', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, help_text='Events that count as usage of this feature.')),
                ('display_singular', models.CharField(blank=True, default='', max_length=100)),
                ('display_plural', models.CharField(blank=True, default='', max_length=100)),
                ('created_at', models.DateTimeField()),
                ('archived_at', models.DateTimeField(blank=True, help_text='Set: hidden from new plans, balances live on.', null=True)),
                ('deleted_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'ordering': ['slug'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('deleted_at', None), models.Q(('type', 'license'), _negated=True)), fields=('slug',), name='feature_one_live_per_id', violation_error_message='There is a feature with that id already.'), models.UniqueConstraint(condition=models.Q(('deleted_at', None), ('type', 'license')), fields=('slug',), name='feature_one_count_of_licenses_per_plan', violation_error_message='The licences of that plan are counted already.'), models.CheckConstraint(condition=models.Q(('consumable', False), models.Q(('type', 'boolean'), _negated=True), _connector='OR'), name='feature_boolean_is_not_consumable', violation_error_message='A boolean feature cannot be consumable.')],
            },
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('price_amount', models.DecimalField(blank=True, decimal_places=10, help_text='In major units of the currency (30 is thirty dollars). Empty: none.', max_digits=30, null=True)),
                ('price_interval', models.CharField(blank=True, choices=[('one_off', 'once'), ('minute', 'minute'), ('hour', 'hour'), ('day', 'day'), ('week', 'week'), ('month', 'month'), ('quarter', 'quarter'), ('semi_annual', 'half-year'), ('year', 'year')], default='', max_length=20)),
                ('price_interval_count', models.PositiveSmallIntegerField(default=1)),
                ('slug', models.CharField(help_text='Used by applications; the same for all versions.', max_length=100, verbose_name='plan id')),
                ('version', models.PositiveIntegerField(default=1)),
                ('is_latest', models.BooleanField(default=True, help_text='The version that a new attach gets.')),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True, default='')),
                ('group', models.CharField(blank=True, default='', help_text='A customer or entity holds at most one main plan of a group.', max_length=100)),
                ('is_add_on', models.BooleanField(default=False, help_text='Stands beside the main plan and replaces nothing.', verbose_name='add-on')),
                ('auto_enable', models.BooleanField(default=False, help_text='Attached when a customer is created.')),
                ('trial_length', models.PositiveIntegerField(blank=True, help_text='Empty: no free trial.', null=True)),
                ('trial_unit', models.CharField(blank=True, choices=[('day', 'days'), ('month', 'months'), ('year', 'years')], default='', max_length=10)),
                ('trial_card_required', models.BooleanField(default=True)),
                ('trial_on_end', models.CharField(choices=[('bill', 'Charge and go on'), ('revert', 'Return to the plan before')], default='bill', max_length=10)),
                ('billing_controls', models.JSONField(blank=True, default=dict, help_text='Defaults for those who hold the plan.')),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('ignore_past_due', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('archived_at', models.DateTimeField(blank=True, help_text='Set: cannot be attached any more.', null=True)),
                ('deleted_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'ordering': ['slug', '-version'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('deleted_at', None)), fields=('slug', 'version'), name='plan_version_once', violation_error_message='This plan already has a version with that number.'), models.UniqueConstraint(condition=models.Q(('deleted_at', None), ('is_latest', True)), fields=('slug',), name='plan_one_latest_version', violation_error_message='A plan has one latest version.'), models.CheckConstraint(condition=models.Q(('price_amount', None), ('price_amount__gte', 0), _connector='OR'), name='plan_price_not_negative', violation_error_message='A price cannot be below 0.')],
            },
        ),
        migrations.CreateModel(
            name='CreditCost',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cost', models.DecimalField(decimal_places=10, help_text='Credits for one unit.', max_digits=30)),
                ('credit_system', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='credit_costs', to='plans.feature')),
                ('metered_feature', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='paid_by', to='plans.feature')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('credit_system', 'metered_feature'), name='credit_cost_once_per_feature', violation_error_message='This credit system already has a cost for that feature.'), models.CheckConstraint(condition=models.Q(('cost__gt', 0)), name='credit_cost_positive', violation_error_message='A credit cost must be above 0.')],
            },
        ),
        migrations.CreateModel(
            name='PlanItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('included', models.DecimalField(decimal_places=10, default=Decimal('0'), max_digits=30)),
                ('unlimited', models.BooleanField(default=False)),
                ('pooled', models.BooleanField(default=False, help_text='What entities are granted adds to one shared balance.')),
                ('reset_interval', models.CharField(blank=True, choices=[('one_off', 'once'), ('minute', 'minute'), ('hour', 'hour'), ('day', 'day'), ('week', 'week'), ('month', 'month'), ('quarter', 'quarter'), ('semi_annual', 'half-year'), ('year', 'year')], default='', max_length=20)),
                ('reset_interval_count', models.PositiveSmallIntegerField(default=1)),
                ('price_amount', models.DecimalField(blank=True, decimal_places=10, help_text='Per billing units, in major units.', max_digits=30, null=True)),
                ('tiers', models.JSONField(blank=True, default=list, help_text='[{"to": "100" or "inf", "amount": "0.5", "flat_amount": "0"}], decimals as text.')),
                ('tier_behavior', models.CharField(blank=True, choices=[('graduated', "Graduated: each tier's units at its own price"), ('volume', 'Volume: all units at the price of the tier reached')], default='', max_length=20)),
                ('price_interval', models.CharField(blank=True, choices=[('one_off', 'once'), ('minute', 'minute'), ('hour', 'hour'), ('day', 'day'), ('week', 'week'), ('month', 'month'), ('quarter', 'quarter'), ('semi_annual', 'half-year'), ('year', 'year')], default='', max_length=20)),
                ('price_interval_count', models.PositiveSmallIntegerField(default=1)),
                ('billing_units', models.DecimalField(decimal_places=10, default=Decimal('1'), max_digits=30)),
                ('billing_method', models.CharField(blank=True, choices=[('prepaid', 'Prepaid: a quantity is chosen and paid in advance'), ('usage_based', 'Usage-based: what is used beyond the grant is billed afterwards')], default='', max_length=20)),
                ('max_purchase', models.DecimalField(blank=True, decimal_places=10, help_text='Most units beyond the included ones.', max_digits=30, null=True)),
                ('on_increase', models.CharField(blank=True, choices=[('bill_immediately', 'Bill in full now'), ('prorate_immediately', 'Bill the rest of the cycle now'), ('prorate_next_cycle', 'Bill the rest of the cycle with the next invoice'), ('bill_next_cycle', 'Bill from the next cycle on')], default='', max_length=30)),
                ('on_decrease', models.CharField(blank=True, choices=[('prorate', 'Credit the rest of the cycle now'), ('prorate_immediately', 'Credit the rest of the cycle immediately'), ('prorate_next_cycle', 'Credit the rest of the cycle with the next invoice'), ('none', 'No credit; what is paid for stays until the renewal'), ('no_prorations', 'No credit')], default='', max_length=30)),
                ('has_rollover', models.BooleanField(default=False)),
                ('rollover_max', models.DecimalField(blank=True, decimal_places=10, max_digits=30, null=True)),
                ('rollover_max_percentage', models.DecimalField(blank=True, decimal_places=2, max_digits=6, null=True)),
                ('rollover_expiry', models.CharField(blank=True, choices=[('month', 'after some months'), ('forever', 'never')], default='', max_length=10)),
                ('rollover_expiry_length', models.PositiveSmallIntegerField(default=1)),
                ('entity_feature', models.ForeignKey(blank=True, help_text='Set: every entity of that feature gets its own grant. Empty: the holder has one.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.feature')),
                ('feature', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.feature')),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='items', to='plans.plan')),
            ],
            options={
                'ordering': ['position', 'pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('included__gte', 0)), name='plan_item_included_not_negative', violation_error_message='The included quantity cannot be below 0.'), models.CheckConstraint(condition=models.Q(('billing_units__gt', 0)), name='plan_item_billing_units_positive', violation_error_message='Billing units must be above 0.'), models.CheckConstraint(condition=models.Q(('entity_feature', None), models.Q(('entity_feature', models.F('feature')), _negated=True), _connector='OR'), name='plan_item_not_per_itself', violation_error_message='A feature cannot be granted per entity of itself.')],
            },
        ),
        migrations.CreateModel(
            name='PlanLicense',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('license_slug', models.CharField(help_text='What one licence gives an entity.', max_length=100, verbose_name='license plan id')),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('included', models.PositiveIntegerField(default=1, help_text='Licences that cost nothing extra.')),
                ('customize', models.JSONField(blank=True, default=dict, help_text='Where the licence differs from its plan: price, items added and removed.')),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='licenses', to='plans.plan')),
            ],
            options={
                'ordering': ['position', 'pk'],
                'indexes': [models.Index(fields=['license_slug'], name='plan_license_by_license')],
                'constraints': [models.UniqueConstraint(fields=('plan', 'license_slug'), name='plan_license_once_per_plan', violation_error_message='This plan offers that licence already.')],
            },
        ),
    ]
