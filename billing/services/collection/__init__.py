"""What happens at the processor without us: payments, refunds, codes entered there, events, and comparing the books."""
