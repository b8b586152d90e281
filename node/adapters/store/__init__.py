"""Durable memory: SQLite and files named by digest."""
