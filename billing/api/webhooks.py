"""Where Stripe's webhooks arrive: taken when written down and applied, else told to come again."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from rest_framework.exceptions import MethodNotAllowed

from billing.models import ProcessorEvent
from billing.services.collection import processor_events
from config import clock
from config.errors import NotFound


class StripeWebhook(View):
    """POST /v1/webhooks/stripe. Answers 200 once the event is applied (or none of ours), 503 while it can't be."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest) -> HttpResponse:
        if not settings.STRIPE_WEBHOOK_SECRET:
            raise NotFound("No webhooks are taken here. Set STRIPE_WEBHOOK_SECRET to take Stripe's.")
        event = processor_events.receive(
            request.body,
            request.headers.get("Stripe-Signature", ""),
            secret=settings.STRIPE_WEBHOOK_SECRET,
            at=clock.now(),
        )
        is_taken = event.status != ProcessorEvent.Status.FAILED
        return JsonResponse({"received": is_taken}, status=200 if is_taken else 503)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        raise MethodNotAllowed(str(request.method))  # Django would answer HTML
