"""Real clock and entropy."""
