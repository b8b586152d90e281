"""What apps meet: a coordinator's gateway with its keys and rules, and the client of orders over the overlay."""
