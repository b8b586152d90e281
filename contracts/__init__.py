"""The contracts: sources, committed artifacts, bindings and deployment."""
