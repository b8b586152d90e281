"""Looks a node over before and while it runs: one finding for each thing that may be wrong, with what mends it."""
