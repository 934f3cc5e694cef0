from django.urls import URLPattern, path

from billing.api import billing_views as views
from billing.api import import_views, invoice_views, reward_views, sandbox, webhooks

billing_urlpatterns: list[URLPattern] = [
    path("billing.attach", views.Attach.as_view()),
    path("billing.preview_attach", views.PreviewAttach.as_view()),
    path("billing.update", views.Update.as_view()),
    path("billing.preview_update", views.PreviewUpdate.as_view()),
    path("billing.multi_attach", views.MultiAttach.as_view()),
    path("billing.preview_multi_attach", views.PreviewMultiAttach.as_view()),
    path("billing.create_schedule", views.CreateSchedule.as_view()),
    path("billing.preview_create_schedule", views.PreviewSchedule.as_view()),
    path("billing.multi_update", views.MultiUpdate.as_view()),
    path("billing.preview_multi_update", views.PreviewMultiUpdate.as_view()),
    path("billing.open_customer_portal", views.OpenCustomerPortal.as_view()),
    path("billing.setup_payment", views.SetupPayment.as_view()),
    path("invoices.list", invoice_views.ListInvoices.as_view()),
    path("rewards.create", reward_views.CreateReward.as_view()),
    path("rewards.get", reward_views.GetReward.as_view()),
    path("rewards.list", reward_views.ListRewards.as_view()),
    path("rewards.update", reward_views.UpdateReward.as_view()),
    path("rewards.delete", reward_views.DeleteReward.as_view()),
    path("rewards.redeem", reward_views.RedeemReward.as_view()),
    path("billing.import", import_views.Import.as_view()),
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
