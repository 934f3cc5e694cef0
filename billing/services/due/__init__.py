"""Time passing: renewals, scheduled starts and ends, and what a crash left pending, each at its own instant."""
