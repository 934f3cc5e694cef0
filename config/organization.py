"""`organization/me`: whom this deployment serves."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from config import api
from config.access.models import Scope


class Organization(api.Endpoint):
    """GET or POST, for any key."""

    methods = ("GET", "POST")
    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> Any:
        """Name, slug and environment."""
        return {
            "name": settings.ORGANIZATION_NAME,
            "slug": settings.ORGANIZATION_SLUG,
            "env": settings.ENVIRONMENT,
        }
