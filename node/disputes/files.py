"""Bundles of evidence in a node's data folder, by digest: what it serves to the jurors of its disputes.

They hold prompts, so they are readable by the node's owner only. The command line writes them, while the node runs or
not, and the node reads them; a bundle that is older than any dispute lasts is deleted.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

from node.whole_file import replace_file
from protocol.errors import ConfigError
from protocol.justice.bundle import MAX_BUNDLE_BYTES, Bundle, bundle_digest
from protocol.units import DAY_MS, Digest, DurationMs, UnixMillis

FOLDER: Final = "disputes"
_SUFFIX: Final = ".bundle"
KEPT_MS: Final = DurationMs(180 * DAY_MS)
"""How long (ms) a bundle is kept: a dispute is over within the unbonding delay, which is at most 90 days, but for the
day's cap, and may be reported some time after the bundle was made."""


def keep_bundle(data: Path, bundle: Bundle) -> Path:
    """Put a bundle where the node of this data folder serves it from; whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    content = bundle.data()
    path = data / FOLDER / f"{bundle_digest(content).hex()}{_SUFFIX}"
    write_bundle(path, content)
    return path


def write_bundle(path: Path, content: bytes) -> None:
    """Write a bundle for its owner's eyes only; whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, content, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def kept_bundle(data: Path, digest: Digest) -> bytes | None:
    """Read a bundle; None where there is none, or it was damaged."""
    try:
        with (data / FOLDER / f"{digest.hex()}{_SUFFIX}").open("rb") as file:
            content = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError:
        return None
    return content if bundle_digest(content) == digest else None


def forget_bundles(data: Path, now: UnixMillis) -> int:
    """Delete bundles that no dispute can be about any more, and what a killed command left of one; gives how many."""
    removed = 0
    for path in sorted((data / FOLDER).glob(f"*{_SUFFIX}*")):
        with suppress(OSError):  # it goes in the next round, or is no file of ours
            if path.stat().st_mtime * 1000 < now - KEPT_MS:
                path.unlink()
                removed += 1
    return removed
