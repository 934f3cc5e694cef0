import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0003_guarded_books'),
        ('entities', '0001_initial'),
        ('plans', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='CheckTally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField(help_text='Its beginning, UTC, by the wall clock.')),
                ('allowed', models.BooleanField()),
                ('count', models.PositiveBigIntegerField()),
                ('feature', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='plans.feature')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('hour', 'feature', 'allowed'), name='check_tally_once_per_hour')],
            },
        ),
        migrations.CreateModel(
            name='Refusal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField(help_text='Its beginning, UTC, by the wall clock.')),
                ('count', models.PositiveBigIntegerField()),
                ('last_at', models.DateTimeField()),
                ('required', models.DecimalField(decimal_places=10, help_text='What was asked for the last time.', max_digits=30)),
                ('remaining', models.DecimalField(decimal_places=10, help_text='What was left then; empty: held no such feature.', max_digits=30, null=True)),
                ('customer', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='entities.customer')),
                ('entity', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='entities.entity')),
                ('feature', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='plans.feature')),
                ('paid_by', models.ForeignKey(blank=True, db_constraint=False, db_index=False, help_text='Whose units were left: those of the feature itself, or of the credits that pay for it.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='plans.feature')),
            ],
            options={
                'indexes': [models.Index(fields=['-last_at'], name='refusal_newest_first'), models.Index(fields=['entity', '-last_at'], name='refusal_by_entity'), models.Index(fields=['customer', '-last_at'], name='refusal_by_customer')],
                'constraints': [models.UniqueConstraint(models.F('customer_id'), django.db.models.functions.comparison.Coalesce('entity_id', 0), models.F('feature_id'), models.F('hour'), name='refusal_once_per_hour')],
            },
        ),
    ]
