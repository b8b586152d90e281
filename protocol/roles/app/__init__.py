"""An app's order over the overlay, and what it alone is made of."""
