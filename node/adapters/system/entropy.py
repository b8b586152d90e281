"""Unpredictable bytes from the operating system."""

import os


def system_entropy(size: int) -> bytes:
    """Give ``size`` unpredictable bytes, fit for keys, salts and nonces."""
    return os.urandom(size)
