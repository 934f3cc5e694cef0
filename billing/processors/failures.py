"""What can go wrong between us and a payment processor, each with what to do about it."""

from collections.abc import Mapping
from typing import ClassVar

from config.errors import DomainError


class ProcessorFailure(DomainError):
    """The processor could not be asked, or refused. Nothing is decided yet: asking again is safe."""


class ProcessorUnavailable(ProcessorFailure):
    """It can't be reached, is busy or broken; what was begun is finished or taken back at the next call."""

    code, status = "processor_unavailable", 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "10"}


class ProcessorMisconfigured(ProcessorFailure):
    """Our key or settings are wrong: staff have to act."""

    code, status = "processor_misconfigured", 502


class ProcessorRefused(ProcessorFailure):
    """It understood and will not do it."""

    code, status = "processor_refused", 409


class CardRefused(ProcessorRefused):
    """The bank refused the card; `asks_customer` when it wants the customer to confirm (3D Secure)."""

    code, status = "card_refused", 402
    asks_customer = False


class MissingAtProcessor(ProcessorRefused):
    """It does not know the id, or not any more."""

    code = "missing_at_processor"


class RenewalNotReady(ProcessorFailure):
    """The processor has yet to open the invoice of a renewal: the renewal waits for it."""

    code, status = "renewal_not_ready", 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "60"}


class WrongVersion(DomainError):
    """A webhook was written for another version of the processor's API."""

    code, status = "wrong_api_version", 400


class InvalidSignature(DomainError):
    """A webhook was not signed with our secret, or too long ago."""

    code, status = "invalid_signature", 400
