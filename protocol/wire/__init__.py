"""What goes over the wire: codec, messages, signed statements, topics."""
