"""How the program is set up and how it speaks to the outside."""

import decimal

# Quantities and money have up to 30 digits, and products of two of them mustn't be cut. Python's own 28 would. Every
# thread starts from the default; this one has started.
decimal.DefaultContext.prec = 64
decimal.setcontext(decimal.DefaultContext)
