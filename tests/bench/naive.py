"""The near end of the scale: the same calls as a first version would have them, with Django and DRF out of the box.

Default middleware, serializers in and out, one ORM call per thing looked up, a row lock in a transaction.
"""

from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.urls import path
from django.utils import timezone
from rest_framework import authentication, serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.models import Balance, LedgerEntry, UsageEvent
from config.access.keys import _hash
from config.access.models import ApiKey
from entities.models import Customer, Entity
from plans.models import Feature


class KeyAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: HttpRequest | Request) -> tuple[Any, Any]:
        secret = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        key = ApiKey.objects.filter(hash=_hash(secret), revoked_at=None).first()
        if key is None:
            raise AuthenticationFailed("Unknown key.")
        return None, key


class CallSerializer(serializers.Serializer[Any]):
    customer_id = serializers.CharField()
    entity_id = serializers.CharField(allow_null=True)
    feature_id = serializers.CharField()
    value = serializers.DecimalField(max_digits=30, decimal_places=10, default=Decimal(1))


class BalanceSerializer(serializers.ModelSerializer[Balance]):
    feature_id = serializers.CharField(source="feature.slug")
    remaining = serializers.DecimalField(max_digits=30, decimal_places=10)

    class Meta:
        model = Balance
        fields = ["id", "feature_id", "granted", "usage", "held", "expired", "remaining", "next_reset_at", "expires_at"]


class Call(APIView):
    authentication_classes = [KeyAuthentication]
    permission_classes = []

    def found(self, data: dict[str, Any], *, lock: bool) -> tuple[Customer, Entity, Feature, list[Balance]]:
        customer = Customer.objects.get(external_id=data["customer_id"], deleted_at=None)
        entity = customer.entities.get(external_id=data["entity_id"], deleted_at=None)
        feature = Feature.objects.get(slug=data["feature_id"])
        rows = Balance.objects.filter(
            Q(entity=entity) | Q(level="pool"), customer=customer, feature=feature, ended_at=None
        ).select_related("feature")
        return customer, entity, feature, list(rows.select_for_update(of=("self",)) if lock else rows)


class Check(Call):
    def post(self, request: Request) -> Response:
        asked = CallSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        _, _, _, rows = self.found(asked.validated_data, lock=False)
        allowed = sum(row.remaining for row in rows) >= asked.validated_data["value"]
        return Response({"allowed": allowed, "balances": BalanceSerializer(rows, many=True).data})


class Track(Call):
    def post(self, request: Request) -> Response:
        asked = CallSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        value = asked.validated_data["value"]
        with transaction.atomic():
            customer, entity, feature, rows = self.found(asked.validated_data, lock=True)
            event = UsageEvent.objects.create(
                customer=customer,
                entity=entity,
                feature=feature,
                value=value,
                at=timezone.now(),
                recorded_at=timezone.now(),
            )
            for row in rows[:1]:
                row.usage += value
                row.save(update_fields=["usage"])
                LedgerEntry.objects.create(
                    balance=row,
                    customer_id=customer.pk,
                    entity_id=entity.pk,
                    kind=LedgerEntry.Kind.USAGE,
                    at=event.at,
                    usage=value,
                    event_id=event.pk,
                )
        return Response({"value": value, "balances": BalanceSerializer(rows, many=True).data})


urlpatterns = [path("check", Check.as_view()), path("track", Track.as_view())]
