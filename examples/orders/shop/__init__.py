"""The business code of a shop: orders from Shopify, payments from Stripe, customers from both."""
