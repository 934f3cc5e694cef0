"""Bringing in what others kept: CSV files row by row, and customers who pay at Stripe already."""
