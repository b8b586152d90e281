"""``cuckoo apikey``: the keys with which apps use a coordinator. A running one notices every change within a second."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from node.cli.account import JsonOption, print_line

if TYPE_CHECKING:
    from datetime import datetime

    from node.apps.api_keys import KeyEntry

DEFAULT_FILE: Final = Path("~/.cuckoo/coordinator/api-keys.json")

apikey_commands = typer.Typer(help="Make, list or revoke the API keys of a coordinator.", no_args_is_help=False)

FileOption = Annotated[
    Path | None,
    typer.Option("--keys-file", metavar="FILE", help=f"Where the hashes of the keys are.  \\[{DEFAULT_FILE}]"),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The coordinator's settings, which say where that is.")
]


@apikey_commands.command("create")
def create(
    label: Annotated[str, typer.Option(help="For you: which app, or who, has it.")],
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Most submissions a minute.  \\[6000]")
    ] = None,
    cai_per_day: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Most that it may order for in a day (UTC), in CAI.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="30d, 12h, or the day 2027-01-31; never where left out.")
    ] = None,
    keys_file: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it: this once, since only its hash is kept.

    $ cuckoo apikey create --label "my app"

    $ cuckoo apikey create --label trial --requests-per-minute 10 --cai-per-day 2.5 --expires 30d
    """
    from datetime import UTC, datetime

    from node.amounts import parse_cai
    from node.apps.api_keys import changed_entries, entry_of, new_key, parse_expiry

    file = _file(keys_file, config)
    key = new_key()
    entry = entry_of(
        key,
        label,
        requests_per_minute=requests_per_minute,
        wei_per_day=None if cai_per_day is None else parse_cai(cai_per_day, "--cai-per-day"),
        expires=None if expires is None else parse_expiry(expires, datetime.now(UTC)),
    )
    with changed_entries(file) as entries:
        entries.append(entry)
    if as_json:
        print_line({"key": key, **_view(entry), "keys_file": str(file)})
        return
    print(key)  # alone on standard output, for scripts
    print(f"key {entry.name} of {label}: {_limits(entry)}; it is not shown again", file=sys.stderr)


@apikey_commands.command("list")
def list_keys(keys_file: FileOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys with their limits; what each is nobody can say any more.

    $ cuckoo apikey list --config coordinator.toml
    """
    from datetime import UTC, datetime

    from node.apps.api_keys import read_entries

    file = _file(keys_file, config)
    entries = read_entries(file)
    if as_json:
        print_line({"keys_file": str(file), "keys": [_view(entry) for entry in entries]})
        return
    if not entries:
        print(f"no API keys in {file}")
        return
    _print_table(entries, datetime.now(UTC))


@apikey_commands.command("revoke")
def revoke(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME…", help="As list shows it, or a label that is one key's.")
    ],
    keys_file: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse keys from now on: what they have ordered goes on, new requests hear 401.

    $ cuckoo apikey revoke 3f9a0c11d2e4
    """
    from node.apps.api_keys import changed_entries
    from protocol.errors import ConfigError

    file = _file(keys_file, config)
    with changed_entries(file) as entries:
        gone: list[KeyEntry] = []
        for name in names:
            found = [entry for entry in entries if name in (entry.name, entry.label)]
            if len(found) != 1:
                problem = f"{len(found)} keys have the label" if found else "no key has the name or label"
                raise ConfigError(f"NAME: {problem} {name!r} in {file}: cuckoo apikey list shows all")
            gone += found
            entries.remove(found[0])
    if as_json:
        print_line({"revoked": [_view(entry) for entry in gone]})
        return
    for entry in gone:
        print(f"revoked {entry.name} ({entry.label})")


@apikey_commands.command("import")
def import_keys(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A file of before, with a key and a label on each line.")],
    keys_file: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take over keys that stand in clear in a file of an older release; delete that file then.

    $ cuckoo apikey import api-keys.txt
    """
    from node.apps.api_keys import changed_entries, read_old_keys

    file = _file(keys_file, config)
    taken = read_old_keys(old)
    with changed_entries(file) as entries:
        known = {entry.hash for entry in entries}
        new = [entry for entry in taken if entry.hash not in known]
        entries += new
    if as_json:
        print_line({"file": str(file), "taken": len(new), "found": len(taken)})
        return
    print(f"took {len(new)} of {len(taken)} keys over into {file}; nothing needs {old} any more: delete it")


def _file(keys_file: Path | None, config: Path | None) -> Path:
    """Find the file of the keys."""
    from protocol.errors import ConfigError

    if keys_file is not None and config is not None:
        raise ConfigError("--keys-file: --config says already where the keys are: leave one of them out")
    if config is not None:
        from node.config.configuration import load_settings

        settings = load_settings(config, {})
        if settings.role != "coordinator":
            raise ConfigError(f"--config: {config} is of a {settings.role}: only a coordinator serves API keys")
        return settings.api_keys_file
    return (keys_file or DEFAULT_FILE).expanduser().absolute()


def _view(entry: "KeyEntry") -> dict[str, object]:
    """Say what may be known of a key."""
    return {
        "name": entry.name,
        "label": entry.label,
        "created": entry.created.isoformat(),
        "requests_per_minute": entry.requests_per_minute,
        "wei_per_day": entry.wei_per_day,
        "expires": None if entry.expires is None else entry.expires.isoformat(),
    }


def _limits(entry: "KeyEntry") -> str:
    """Say what a key is allowed, on one line."""
    from node.amounts import format_cai

    limits = []
    if entry.requests_per_minute is not None:
        limits.append(f"{entry.requests_per_minute} requests a minute")
    if entry.wei_per_day is not None:
        limits.append(f"{format_cai(int(entry.wei_per_day))} a day")
    if entry.expires is not None:
        limits.append(f"until {entry.expires:%Y-%m-%d %H:%M} UTC")
    return ", ".join(limits) or "no limits of its own"


def _print_table(entries: "tuple[KeyEntry, ...]", now: "datetime") -> None:
    """Show all keys to a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for heading in ("name", "label", "made", "allowed"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        allowed = f"expired on {entry.expires:%Y-%m-%d}" if entry.is_over(now) else _limits(entry)
        table.add_row(entry.name, entry.label, f"{entry.created:%Y-%m-%d}", allowed)
    Console(highlight=False, markup=False, emoji=False).print(table)
