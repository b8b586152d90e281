"""Data only: parameters of networks, commented node settings, deployment files. Read with importlib.resources."""
