"""Invoices as people read and keep them: a page to print, and a PDF of it."""
