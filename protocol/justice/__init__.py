"""Signed statements that contradict each other: what is one, how they are noticed, and how a contract is shown them."""
