"""What staff can do about an endpoint: each says what will happen, asks why, and calls the service."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldAdminURLInputWidget

from billing.admin.actions.base import Button
from billing.models import WebhookEndpoint, WebhookType
from billing.services.webhooks import endpoints
from billing.services.webhooks.endpoints import Terms
from config.errors import InvalidRequest

EDIT, RESEND = "can_edit_webhook", "can_resend_webhook"
TOLD = {
    WebhookType.USAGE_ALERT: "A usage alert went off",
    WebhookType.LIMIT_REACHED: "A limit was reached",
    WebhookType.BILLING_UPDATED: "Plans were changed",
}


class TermsForm(forms.Form):
    """What an endpoint is to be."""

    url = forms.CharField(
        label="Address",
        max_length=2000,
        widget=UnfoldAdminURLInputWidget(attrs={"placeholder": "https://app.example.com/webhooks"}),
        help_text="Where we POST to.",
    )
    events = forms.MultipleChoiceField(
        label="What it is told",
        required=False,
        choices=[(kind.value, f"{text} ({kind.value})") for kind, text in TOLD.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text="Nothing chosen: everything, also what may be added later.",
    )
    description = forms.CharField(max_length=500, required=False, widget=UnfoldAdminTextInputWidget())

    def terms(self) -> Terms:
        """As the service takes them."""
        values = self.cleaned_data
        return Terms(values["url"], values["events"], values["description"])


class NewForm(TermsForm):
    """The same, and the id that it keeps."""

    public_id = forms.SlugField(
        label="ID", max_length=255, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "app"}),
        help_text="Tells it from others, here and over the API. It can't be changed later.",
    )  # fmt: skip
    field_order = ("public_id", "url", "events", "description")


class Step:
    """One of them; `endpoint` is None for the first."""

    slug: ClassVar[str]
    title: ClassVar[str]
    verb: ClassVar[str]
    permission: ClassVar[str] = EDIT
    is_dangerous: ClassVar[bool] = False  # asks for the password again
    form_class: ClassVar[type[forms.Form]] = forms.Form
    shows_secret: ClassVar[bool] = False

    def __init__(self, endpoint: WebhookEndpoint | None) -> None:
        self.endpoint = endpoint

    def form(self, data: Any = None) -> forms.Form:
        """The questions."""
        return self.form_class(data)

    @property
    def named(self) -> WebhookEndpoint:
        """The endpoint that it is about; raises InvalidRequest where none was named."""
        if self.endpoint is None:
            raise InvalidRequest("Say which endpoint.")
        return self.endpoint

    def says(self) -> list[str]:
        """What will happen, in sentences."""
        raise NotImplementedError

    def run(self, form: Any, at: datetime) -> str:
        """Do it; returns a sentence on what was done."""
        raise NotImplementedError


class Add(Step):
    """A new one."""

    slug, title, verb = "add", "Add a webhook endpoint", "Add it"
    form_class, shows_secret = NewForm, True

    def says(self) -> list[str]:
        return [
            "From then on it is told what happens; nothing that happened before.",
            "It gets a signing secret, which the next page shows.",
        ]

    def run(self, form: Any, at: datetime) -> str:
        self.endpoint = endpoints.create(form.cleaned_data["public_id"], form.terms(), at=at)
        return f"{self.endpoint} is told what happens from now on."


class Change(Step):
    """Another address, or other events."""

    slug, title, verb = "change", "Edit", "Save it"
    form_class = TermsForm

    def form(self, data: Any = None) -> forms.Form:
        row = self.named
        return TermsForm(data, initial={"url": row.url, "events": row.events, "description": row.description})

    def says(self) -> list[str]:
        return ["What waits to be sent goes to the new address too. The secret stays."]

    def run(self, form: Any, at: datetime) -> str:
        endpoints.update(self.named.public_id, form.terms(), at=at)
        return f"{self.endpoint} was changed."


class Show(Step):
    """The secret, once more."""

    slug, title, verb = "secret", "Show the secret", "Show it"
    is_dangerous = shows_secret = True

    def says(self) -> list[str]:
        return [
            "Whoever has the secret can send the receiver messages that look like ours.",
            "The audit log keeps that you looked.",
        ]

    def run(self, form: Any, at: datetime) -> str:
        return "Nothing has changed."


class Roll(Step):
    """Another secret."""

    slug, title, verb = "roll", "Roll the secret", "Make a new secret"
    is_dangerous = shows_secret = True

    def says(self) -> list[str]:
        return [
            "It gets a new signing secret, which the next page shows.",
            "For 24 hours messages carry both signatures; then the old secret is worth nothing.",
        ]

    def run(self, form: Any, at: datetime) -> str:
        self.endpoint = endpoints.roll_secret(self.named.public_id, at=at)
        return f"{self.endpoint} has a new secret."


class Try(Step):
    """A message that says nothing."""

    slug, title, verb, permission = "test", "Send a test", "Send it", RESEND

    def says(self) -> list[str]:
        return [
            "A message of the type webhook.test is sent, signed as all are. Receivers that don't know it ignore it."
        ]

    def run(self, form: Any, at: datetime) -> str:
        endpoints.send_test(self.named.public_id, at=at)
        return "A test is on its way; below is what comes of it."


class Disable(Step):
    """Not for now."""

    slug, title, verb = "disable", "Disable", "Disable it"

    def says(self) -> list[str]:
        return [
            "Nothing is sent to it any more. What happens meanwhile it is never told.",
            "What waits already is sent when it is enabled again.",
        ]

    def run(self, form: Any, at: datetime) -> str:
        endpoints.update(self.named.public_id, Terms(disabled=True), at=at)
        return f"{self.endpoint} is disabled. To undo: enable it."


class Enable(Step):
    """Again."""

    slug, title, verb = "enable", "Enable", "Enable it"

    def says(self) -> list[str]:
        return ["From now on it is told what happens. What waited is sent at once."]

    def run(self, form: Any, at: datetime) -> str:
        endpoints.update(self.named.public_id, Terms(disabled=False), at=at)
        return f"{self.endpoint} is told what happens again."


class Remove(Step):
    """For good."""

    slug, title, verb, is_dangerous = "remove", "Remove", "Remove it", True

    def says(self) -> list[str]:
        return [
            "Nothing is sent to it any more, what waits included. What it was sent stays listed.",
            "It can't be taken back; another with the same id gets a secret of its own.",
        ]

    def run(self, form: Any, at: datetime) -> str:
        endpoints.remove(self.named.public_id, at=at)
        return f"{self.endpoint} was removed."


STEPS: dict[str, type[Step]] = {step.slug: step for step in (Add, Try, Change, Show, Roll, Disable, Enable, Remove)}


def allowed(user: User | AnonymousUser, step: type[Step]) -> bool:
    """May this member of staff do it?"""
    may: bool = user.is_active and user.has_perm(f"billing.{step.permission}")
    return may


def buttons(user: User | AnonymousUser, endpoint: WebhookEndpoint) -> list[Button]:
    """Ways to what this member of staff may do about it."""
    if endpoint.deleted_at is not None:
        return []
    switch = Enable if endpoint.disabled_at is not None else Disable
    found = (Try, Change, Show, Roll, switch, Remove)
    return [
        Button(reverse("admin:webhook-step", args=[step.slug, endpoint.pk]), step.title, step is Remove)
        for step in found
        if allowed(user, step)
    ]
