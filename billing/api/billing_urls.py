from django.urls import URLPattern, path

from billing.api import billing_views as views
from billing.api import sandbox, webhooks

billing_urlpatterns: list[URLPattern] = [
    path("billing.attach", views.Attach.as_view()),
    path("billing.preview_attach", views.PreviewAttach.as_view()),
    path("billing.update", views.Update.as_view()),
    path("billing.preview_update", views.PreviewUpdate.as_view()),
    path("billing.multi_attach", views.MultiAttach.as_view()),
    path("billing.preview_multi_attach", views.PreviewMultiAttach.as_view()),
    path("billing.multi_update", views.MultiUpdate.as_view()),
    path("billing.preview_multi_update", views.PreviewMultiUpdate.as_view()),
    path("billing.open_customer_portal", views.OpenCustomerPortal.as_view()),
    path("billing.setup_payment", views.SetupPayment.as_view()),
    path("webhooks/stripe", webhooks.StripeWebhook.as_view()),
    path("sandbox.set_clock", sandbox.SetClock.as_view()),
    path("sandbox.set_payment_method", sandbox.SetPaymentMethod.as_view()),
    path("sandbox.complete_checkout", sandbox.CompleteCheckout.as_view()),
    path("sandbox.authenticate_payment", sandbox.PayInvoice.as_view()),
    path("sandbox.pay_invoice", sandbox.PayInvoice.as_view()),
    path("sandbox.cancel_subscription", sandbox.CancelSubscription.as_view()),
    path("sandbox.resume_subscription", sandbox.ResumeSubscription.as_view()),
    path("sandbox.processor_state", sandbox.ProcessorState.as_view()),
]
