"""What is sold, and how it may be changed: features, plans in versions, and whole catalogues pushed at once."""
