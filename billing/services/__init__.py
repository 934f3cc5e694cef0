"""The verbs of billing, by noun: what applications and staff ask for is here, the packages are what it takes."""
