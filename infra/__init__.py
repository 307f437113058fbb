"""The template and where it runs. Here: what the command line must know without importing any of it."""

KINDS = ("embedded", "localstack", "aws")
LOCALSTACK = "http://127.0.0.1:4566"
