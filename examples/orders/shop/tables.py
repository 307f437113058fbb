"""The shop's tables."""

from weir import Index, Table

orders = Table("orders", key={"order": str}, indexes=[Index("by_customer", {"customer": str, "updated_at": str})])
order_lines = Table("order_lines", key={"order": str, "line": int})
customers = Table("customers", key={"customer": str})
