"""The coordinator's core, and what it alone is made of: from an app's order to the receipt."""
