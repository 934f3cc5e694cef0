"""Who may come in, and how often the same request counts."""
