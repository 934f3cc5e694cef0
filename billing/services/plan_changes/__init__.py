"""What a change of plans comes to: read under the customer's lock, then computed. Nothing is written here."""
