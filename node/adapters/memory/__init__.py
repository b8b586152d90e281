"""A whole network in memory, for tests of everything above the adapters."""
