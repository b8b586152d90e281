"""What the page at a coordinator's address shows: the network as it lives, and stakes."""
