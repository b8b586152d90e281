"""Stake tables, epochs, the field and the lottery."""
