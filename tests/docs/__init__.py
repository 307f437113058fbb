"""Writes the pages of docs/reference from the code's own data; checks what a machine can check of the other pages."""
