"""The miner's core, and what it alone is made of: from an offer to its pay; also as a juror."""
