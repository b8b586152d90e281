"""A picture that was drawn for a person: where it goes, what its receipt says, and how both are told."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.cli.account import print_line

if TYPE_CHECKING:
    from node.receipts import ReceiptFindings

OTHER_PICTURES: Final = frozenset({".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".tif", ".tiff"})
"""Ends of names that promise a kind of file which nobody draws here."""

MAX_NUMBERED: Final = 10_000
"""Most pictures beside each other that are told apart by a number: a look at each name costs some microseconds."""

LOOK_UP: Final = "name the network's file (--network, CUCKOO_NETWORK), or give --chain-rpc and --staking"
"""What it takes to look up who signed a receipt."""


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """A picture that was drawn, as it is told to people."""

    task: str
    miner: str
    picture: bytes
    coordinator: str | None = None
    """Its peer id, where it was found in the overlay."""
    receipt: bytes = b""
    delivered: bytes = b""
    """What the receipt is of, where it came over the overlay: the picture, or what its miner sealed."""
    opened_to: tuple[str, ...] = ()
    """Of a sealed one: which miners could read it, and what is known of them."""


def check_output(out: Path | None) -> None:
    """Refuse a place where no file can be written, before any work is paid for; None is a free name in this folder.

    Raises:
        ConfigError: Naming --out.
    """
    import os
    from tempfile import TemporaryFile

    from protocol.errors import ConfigError

    if out is not None:
        if out.suffix.lower() in OTHER_PICTURES:
            raise ConfigError(f"--out: {out}: pictures come as PNG or WebP: let the name end in .png or .webp")
        if out.is_dir():
            raise ConfigError(f"--out: {out} is a folder: name a file, as {out / 'picture.png'}")
        if not out.absolute().parent.is_dir():
            raise ConfigError(f"--out: the folder {out.absolute().parent} does not exist")
        if out.exists():
            if not os.access(out, os.W_OK):
                raise ConfigError(f"--out: {out} exists and cannot be written")
            return
    folder = Path.cwd() if out is None else out.absolute().parent
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"--out: the folder {folder} takes no file: {error.strerror}") from None


def save(out: Path | None, picture: bytes, *, otherwise: Path, still_at: str | None = None) -> Path:
    """Save a picture, and give where.

    Args:
        out: The file that a person named, whose content is replaced; None where they named none.
        picture: Its bytes.
        otherwise: Where it goes then, or under the first such name that is free (``picture-2.png``): a picture that was
            paid for is never lost to one of which nobody said where it goes.
        still_at: Where else it is, for whoever has no room for it here.

    Raises:
        ConfigError: Naming --out.
    """
    from itertools import chain

    from protocol.errors import ConfigError

    elsewhere = f"; the picture is still at {still_at}" if still_at else ""
    numbered = (otherwise.with_stem(f"{otherwise.stem}-{number}") for number in range(2, MAX_NUMBERED + 1))
    for path in chain((otherwise,), numbered) if out is None else (out,):
        try:
            with path.open("xb" if out is None else "wb") as file:
                file.write(picture)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"--out: {path} cannot be written: {error.strerror}{elsewhere}") from None
        return path
    raise ConfigError(f"--out: {otherwise} and {MAX_NUMBERED - 1:,} names like it are taken: name a file")


def tell(drawn: DrawnPicture, out: Path, findings: "ReceiptFindings", *, as_json: bool, show: bool) -> None:
    """Say where the picture is and what its receipt says, and show it.

    Raises:
        Unavailable: The receipt cannot be believed.
    """
    if as_json:
        print_line(
            {
                "task": drawn.task,
                "miner": drawn.miner,
                "coordinator": drawn.coordinator,
                "file": str(out),
                "bytes": len(drawn.picture),
                "receipt": findings_view(findings),
                **({"opened_to": list(drawn.opened_to)} if drawn.opened_to else {}),
            }
        )
        if findings.problems:
            print_findings(findings)  # raises
        return
    if show:
        from rich.console import Console

        from node.cli.picture import show_picture

        show_picture(drawn.picture, Console())
    where = f", for coordinator {drawn.coordinator}" if drawn.coordinator else ""
    print(f"saved {out} ({len(drawn.picture):,} bytes), made by miner {drawn.miner} as task {drawn.task}{where}")
    for line in drawn.opened_to:
        print(f"sealed: {line}")
    print_findings(findings)


def print_findings(findings: "ReceiptFindings") -> None:
    """Print what the check of a receipt found.

    Raises:
        Unavailable: The receipt cannot be believed.
    """
    from protocol.errors import Unavailable

    if findings.problems:
        raise Unavailable(f"receipt: not to be believed: {'; '.join(findings.problems)}")
    says = ", ".join(findings.lines())
    if findings.signed_by is None:
        print(f"receipt: says that {says}; SIGNATURE NOT CHECKED: {LOOK_UP}")
    else:
        print(f"receipt: good: {says}")


def findings_view(findings: "ReceiptFindings") -> dict[str, Any]:
    """Say what the check of a receipt found, as JSON holds it."""
    statement = findings.receipt.statement
    return {
        "task": statement.task.hex(),
        "coordinator": str(statement.coordinator),
        "miner": str(statement.miner),
        "price_wei": str(statement.price),
        "problems": list(findings.problems),
        "signed_by": None if findings.signed_by is None else "0x" + findings.signed_by.hex(),
        "signer_is_registered": findings.signer_is_registered,
        "notes": list(findings.notes),
    }
