"""Numbered migrations: expand, backfill, contract; one head."""
