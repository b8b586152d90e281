"""The models that a node has: the catalog, their files, and how they get here."""
