"""The overlay on py-libp2p: hardened, patched, and the only place that sees a libp2p type."""
