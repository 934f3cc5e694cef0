import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('plans', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Customer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(help_text='Given by the application; unique.', max_length=255, verbose_name='customer id')),
                ('name', models.CharField(blank=True, default='', max_length=255)),
                ('email', models.CharField(blank=True, default='', max_length=320)),
                ('fingerprint', models.CharField(blank=True, default='', help_text='Recognises the same person behind several customers (trials).', max_length=255)),
                ('processor_id', models.CharField(blank=True, default='', help_text='Id at the payment processor.', max_length=255)),
                ('currency', models.CharField(blank=True, default='', help_text='Locked by the first invoice.', max_length=3)),
                ('send_email_receipts', models.BooleanField(default=False)),
                ('disable_pooled_balance', models.BooleanField(default=False, help_text='An entity that has a balance of its own for a feature does not fall back on the shared one.')),
                ('disable_overage_billing', models.BooleanField(default=False)),
                ('billing_controls', models.JSONField(blank=True, default=dict)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('billing_cycle_anchor', models.DateTimeField(blank=True, help_text='Set by the first paid plan in any scope; later subscriptions count their cycles from it.', null=True)),
                ('clock_at', models.DateTimeField(blank=True, help_text="Sandbox only: this customer's present, turned forward by hand.", null=True, verbose_name='test clock')),
                ('created_at', models.DateTimeField()),
                ('deleted_at', models.DateTimeField(blank=True, help_text='A deleted customer keeps its invoices and ledger, and frees its id.', null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['-created_at', '-id'], name='customer_newest_first'), models.Index(condition=models.Q(('fingerprint', ''), _negated=True), fields=['fingerprint'], name='customer_fingerprint'), models.Index(condition=models.Q(('processor_id', ''), _negated=True), fields=['processor_id'], name='customer_processor_id')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('deleted_at', None)), fields=('external_id',), name='customer_one_live_per_id', violation_error_message='There is a customer with that id already.')],
            },
        ),
        migrations.CreateModel(
            name='Entity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(help_text='Given by the application; unique per customer.', max_length=255, verbose_name='entity id')),
                ('name', models.CharField(blank=True, default='', max_length=255)),
                ('billing_controls', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField()),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='entities', to='entities.customer')),
                ('feature', models.ForeignKey(help_text='What it counts as: seats, …', on_delete=django.db.models.deletion.PROTECT, related_name='entities', to='plans.feature')),
            ],
            options={
                'verbose_name_plural': 'entities',
                'indexes': [models.Index(condition=models.Q(('deleted_at', None)), fields=['customer', 'id'], name='entity_live_oldest_first'), models.Index(condition=models.Q(('deleted_at', None)), fields=['external_id'], name='entity_live_by_id')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('deleted_at', None)), fields=('customer', 'external_id'), name='entity_one_live_per_id', violation_error_message='This customer already has an entity with that id.')],
            },
        ),
    ]
