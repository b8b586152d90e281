"""Listens to a network as a stranger that only hears: a bootstrap with a key of its own, which nobody knows."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import ConfigError


@contextmanager
def listen(network: Path | None, seconds: int, keep: Path | None) -> Iterator[Path]:
    """Hear public gossip for a while; gives the record, which is gone with the context unless it is kept.

    Args:
        network: The network's file.
        seconds: For how long (s); Ctrl-C ends it sooner, and what was heard until then counts.
        keep: A new file to keep the record in.

    Raises:
        ConfigError: The network's file is missing or wrong, or ``keep`` exists.
    """
    if network is None:
        raise ConfigError("--network is missing: name the network's file, as a devnet prints it")
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep: {keep} exists already; it is not overwritten")
    with tempfile.TemporaryDirectory(prefix="cuckoo-audit-") as folder:
        record = keep or Path(folder) / "gossip.jsonl"
        _run(network, Path(folder) / "node", record, seconds)
        yield record


def _run(network: Path, data: Path, record: Path, seconds: int) -> None:
    """Run the listening node."""
    from node.cli.progress import Reporter
    from node.cli.running import run_until_stopped
    from node.config.configuration import load_settings
    from node.journal import configure_logging

    settings = load_settings(
        None,
        {
            "role": "bootstrap",
            "network": network,
            "data": data,
            "overlay.listen": ["/ip4/127.0.0.1/tcp/0"],
            "record.file": record,
            "record.files": 1000,
            "record.max_mb": 100_000,
            "logs.level": "error",
        },
    )
    configure_logging(settings.logs.format, settings.logs.level)

    async def run() -> None:
        import trio

        from node.compose import run_node

        with Reporter().shown() as reporter:
            reporter.say("joining the network")
            async with trio.open_nursery() as nursery:
                await nursery.start(run_node, settings, secrets.token_bytes(32))
                reporter.say(f"listening for {seconds} s; Ctrl-C ends it sooner")
                await trio.sleep(seconds)
                nursery.cancel_scope.cancel()

    run_until_stopped(run)
