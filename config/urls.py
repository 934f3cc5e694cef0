from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import RedirectView

import billing.api.urls
import entities.api.urls
import plans.api.urls
from billing.api.document_views import document_urlpatterns
from billing.api.pages import page_urlpatterns
from config import organization


def healthz(request: HttpRequest) -> HttpResponse:
    """Is the process up? It doesn't ask the database."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("v1/", include(plans.api.urls)),
    path("v1/", include(entities.api.urls)),
    path("v1/", include(billing.api.urls)),
    path("v1/organization", organization.Organization.as_view()),
    path("v1/organization/me", organization.Organization.as_view()),
    *page_urlpatterns,
    *document_urlpatterns,
    path("healthz", healthz),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
