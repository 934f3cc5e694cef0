"""Ours with what a new project starts with where it matters for speed."""

from config.settings import *  # noqa: F403
from config.settings import DATABASES, MIDDLEWARE

ROOT_URLCONF = "tests.bench.naive"
MIDDLEWARE = [name for name in MIDDLEWARE if name.startswith("django.")]
REST_FRAMEWORK = {}
SECURE_SSL_REDIRECT = False
for database in DATABASES.values():
    database["OPTIONS"] = {}
