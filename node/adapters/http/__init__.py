"""The HTTP gateway of a coordinator."""
