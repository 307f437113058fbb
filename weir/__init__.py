"""Weir: webhooks on AWS, never lost, never applied twice. Its rooms are links to the folders beside this one."""
