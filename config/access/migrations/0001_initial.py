import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Who or what uses the key, for instance “website”.', max_length=100)),
                ('prefix', models.CharField(editable=False, max_length=32)),
                ('hash', models.BinaryField(max_length=32, unique=True)),
                ('scope', models.CharField(choices=[('read', 'Read'), ('write', 'Read and write')], default='write', max_length=5)),
                ('created_at', models.DateTimeField(editable=False)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('revoked_at', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ('-created_at', '-id'),
                'constraints': [models.CheckConstraint(condition=models.Q(('scope__in', ['read', 'write'])), name='api_key_scope', violation_error_message='A key is for reading, or for reading and writing.')],
            },
        ),
        migrations.CreateModel(
            name='IdempotentResponse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('place', models.CharField(choices=[('header', 'Header'), ('body', 'Body')], default='header', max_length=6)),
                ('fingerprint', models.BinaryField(max_length=32)),
                ('created_at', models.DateTimeField()),
                ('leased_until', models.DateTimeField(null=True)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('body', models.BinaryField(default=b'')),
                ('api_key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='access.apikey')),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='idempotent_response_age')],
                'constraints': [models.UniqueConstraint(fields=('api_key', 'place', 'key'), name='idempotent_response_key')],
            },
        ),
    ]
