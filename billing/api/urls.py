from django.urls import path

from billing.api import balance_views, event_views, explain_views, legacy, license_views, webhook_endpoint_views
from billing.api.billing_urls import billing_urlpatterns

urlpatterns = [
    path("balances.check", balance_views.Check.as_view()),
    path("balances.track", balance_views.Track.as_view()),
    path("balances.batch_track", balance_views.BatchTrack.as_view()),
    path("balances.finalize", balance_views.Finalize.as_view()),
    path("balances.create", balance_views.CreateBalance.as_view()),
    path("balances.update", balance_views.UpdateBalance.as_view()),
    path("balances.delete", balance_views.DeleteBalance.as_view()),
    path("balances.recalculate", balance_views.RecalculateBalances.as_view()),
    path("licenses.attach", license_views.AttachLicense.as_view()),
    path("licenses.release", license_views.ReleaseLicense.as_view()),
    path("licenses.list", license_views.ListLicenses.as_view()),
    path("licenses.list_assignments", license_views.ListAssignments.as_view()),
    path("balances.explain", explain_views.Explain.as_view()),
    path("webhooks.create", webhook_endpoint_views.CreateWebhook.as_view()),
    path("webhooks.get", webhook_endpoint_views.GetWebhook.as_view()),
    path("webhooks.list", webhook_endpoint_views.ListWebhooks.as_view()),
    path("webhooks.update", webhook_endpoint_views.UpdateWebhook.as_view()),
    path("webhooks.delete", webhook_endpoint_views.DeleteWebhook.as_view()),
    path("events.list", event_views.ListEvents.as_view()),
    path("events.aggregate", event_views.AggregateEvents.as_view()),
    # The older clients and atmn.
    path("check", legacy.LegacyCheck.as_view()),
    path("track", legacy.LegacyTrack.as_view()),
    path("events/list", event_views.ListEvents.as_view()),
    path("events/aggregate", event_views.AggregateEvents.as_view()),
    *billing_urlpatterns,
]
