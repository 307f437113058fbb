"""The business code of the ledger."""
