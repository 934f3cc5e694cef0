"""Who is told, as statements ask for it along with what they are about."""

# Alias w. The table has a few rows, for most none: asking costs nothing that could be measured.
LISTENS = "w.deleted_at IS NULL AND w.disabled_at IS NULL AND (w.events = '{{}}' OR {kind} = ANY(w.events::text[]))"


def is_told(kind: str) -> str:
    """That some endpoint is told what is of this kind."""
    return f"EXISTS (SELECT FROM billing_webhookendpoint w WHERE {LISTENS.format(kind=f"'{kind}'")})"
