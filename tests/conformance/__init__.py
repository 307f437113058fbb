"""Conformance: scenarios of what AWS documents, run against everything that replaces AWS here."""
