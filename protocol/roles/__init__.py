"""The state machines: ``handle(event, now) -> effects``."""
