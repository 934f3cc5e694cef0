"""Carrying out what was computed: the money, then our rows, then the processor's subscription."""
