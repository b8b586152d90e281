"""What the gateway needs to know about this machine and its apps."""

from dataclasses import dataclass

from node.adapters.http.forwarding import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the gateway listens, whom it serves, and how much of it one app may use."""

    host: str = "127.0.0.1"
    """Name or address to listen on."""
    port: int = 8000
    """TCP port; 0 takes a free one, which ``Gateway.run`` reports."""
    require_key: bool = False
    """Serve known keys only; otherwise any key will do, or none: then one address is one account."""
    max_body_bytes: int = 64 * 1024
    """Largest request body (bytes): two prompts of 2,000 characters, six bytes each as JSON escapes, fit twice."""
    max_upload_bytes: int = 23 * 1024 * 1024
    """Largest body (bytes) where it may hold pictures: a source and a mask, each in base64, and the rest."""
    max_uploading_bytes: int = 256 * 1024 * 1024
    """Bytes of all such bodies in memory at once; beyond it apps hear ``busy``."""
    upload_timeout_s: float = 60.0
    """Longest time (s) that such a body may take to arrive."""
    body_timeout_s: float = 15.0
    """Longest time (s) that a request body may take to arrive."""
    task_timeout_s: float = 600.0
    """Longest time (s) that a call waits for its pictures; not below the life of a task, or it ends early."""
    requests_per_minute_per_key: int = 6000
    """Submissions a minute of one key that says nothing else, or of one address without a known key; they may come in
    one burst."""
    max_connections: int = 1000
    """Open connections, so that files for the store and overlay remain. Beyond it, the one that has waited longest
    for its client is closed; where all are busy, the new one is."""
    max_connections_per_site: int = 256
    """Of these, connections of one remote address (IPv6: /64). Loopback and private networks, where proxies are, may
    take half of all, and a trusted proxy may take all."""
    max_event_streams: int = 256
    """Followers of ``/events`` at once; beyond it they hear ``busy``."""
    max_event_streams_per_caller: int = 32
    """Of these, followers of one known key, or of one address without a known key."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call from a browser; ``*`` is all."""
    public_url: str | None = None
    """Address under which apps reach this gateway, where it stands behind a proxy; else as each request says."""
    nearest_sizes: bool = False
    """Draw the nearest size that a model offers in place of one that it does not; otherwise that is refused."""
    trusted_proxies: tuple[Network, ...] = ()
    """Reverse proxies whose ``X-Forwarded-For`` is believed; whatever others write there is not even read."""
