"""The protocol of the overlay: pure, synchronous, deterministic. No I/O, no clock, no logger. See SPEC.md."""
