"""Quality disputes: evidence on disk and on the wire, an owner's plans, and what people see of them."""
