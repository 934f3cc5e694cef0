from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q


class Scope(models.TextChoices):
    """What a key is good for; writing includes reading."""

    READ = "read", "Read"
    WRITE = "write", "Read and write"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> "ApiKeyQuerySet":
        """Keys that still open the door."""
        return self.filter(revoked_at=None)


class ApiKey(models.Model):
    """A key to the API. The key itself is shown once, when it is made, and never stored."""

    name = models.CharField(max_length=100, help_text="Who or what uses the key, for instance “website”.")
    # As much of the key as may be shown to tell it from others.
    prefix = models.CharField(max_length=32, editable=False)
    # SHA-256 of the key. Keys are long and random, so a fast hash keeps them as safe as a slow one.
    hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scope = models.CharField(max_length=5, choices=Scope, default=Scope.WRITE)
    created_at = models.DateTimeField(editable=False)
    # To the minute or so: it is written when a process looks the key up, not at each request.
    last_used_at = models.DateTimeField(null=True, editable=False)
    # From this moment the key is refused, at the latest some seconds later everywhere.
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ("-created_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=Q(scope__in=Scope.values),
                name="api_key_scope",
                violation_error_message="A key is for reading, or for reading and writing.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_live(self) -> bool:
        """Does the key still open the door?"""
        return self.revoked_at is None


class IdempotentResponseQuerySet(models.QuerySet["IdempotentResponse"]):
    def expired(self, at: datetime) -> "IdempotentResponseQuerySet":
        """Answers that nobody may ask for again."""
        return self.filter(created_at__lte=at - IdempotentResponse.LIFETIME)


class IdempotentResponse(models.Model):
    """The first answer to a request that came with an idempotency key, kept to be given again."""

    LIFETIME = timedelta(hours=24)

    class Place(models.TextChoices):
        HEADER = "header", "Header"
        BODY = "body", "Body"

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    # Where the key came: those of headers and of bodies do not meet.
    place = models.CharField(max_length=6, choices=Place, default=Place.HEADER)
    # SHA-256 of method, path and body: the same key with another request is refused.
    fingerprint = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()
    # Until when the request that came first may be running. Empty once it was answered; past, when it died.
    leased_until = models.DateTimeField(null=True)
    # Empty while the first request is running.
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(default=b"")

    objects = IdempotentResponseQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("api_key", "place", "key"), name="idempotent_response_key"),)
        # For pruning.
        indexes = (models.Index(fields=("created_at",), name="idempotent_response_age"),)

    def __str__(self) -> str:
        return self.key
