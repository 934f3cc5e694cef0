"""How the program is set up and how it speaks to the outside."""
