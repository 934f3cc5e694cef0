"""What may be used and what was: check and track, holds, grants, resets, and the ledger beneath them all."""
