"""One task: its states, statements and checks."""
