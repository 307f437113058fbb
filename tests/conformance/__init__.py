"""Conformance: scenarios of what AWS documents, run against every world that stands in for AWS here."""
