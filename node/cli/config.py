"""``cuckoo config``: check and show settings before a node runs with them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from node.settings import Settings

EXIT_WRONG: Final = 2
"""A node could not start with one of the files."""

config_commands = typer.Typer(help="Check, show or begin a settings file.")

FileArgument = Annotated[Path, typer.Argument(help="TOML file with a node's settings.", metavar="FILE")]


@config_commands.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="TOML files to check.", metavar="FILE…")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")] = False,
) -> None:
    """Say whether a node could start with these settings: also keystore, password file and models must be there.

    $ cuckoo config check miner.toml
    """
    import json

    from node.own_command import with_shown_command
    from protocol.errors import ConfigError

    is_wrong = False
    for file in files:
        try:
            settings = _require_startable(file)
        except ConfigError as error:  # the others are looked at all the same
            is_wrong = True
            print(with_shown_command(f"error: {error}"), file=sys.stderr)
            continue
        if as_json:
            print(json.dumps({"file": str(file), "role": settings.role.value, "network": settings.params.name}))
        else:
            print(f"{file}: good for a {settings.role} on {settings.params.name}")
    if is_wrong:
        raise typer.Exit(EXIT_WRONG)


def _require_startable(file: Path) -> "Settings":
    """Read settings that a node could start with.

    Raises:
        ConfigError: It could not.
    """
    from node import keystore
    from node.apps.gateway import reviewers_of
    from node.config.configuration import load_settings
    from node.model_files.shelf import require_models

    settings = load_settings(file, {})
    require_models(settings)
    reviewers_of(settings)
    keystore.require_files(settings.keystore, settings.key.password_file)
    if settings.chain.gas_keystore is not None:
        keystore.require_files(settings.chain.gas_keystore, settings.chain.gas_password_file, "chain.gas_password_file")
    return settings


@config_commands.command("show")
def show(
    file: FileArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Show every setting that counts, the network's numbers too, and whence each came. Nothing secret is shown.

    $ cuckoo config show miner.toml
    """
    import json

    from node.config.configuration import load_with_origins
    from node.config.shown_settings import shown_settings

    shown = list(shown_settings(load_with_origins(file, {})))
    if as_json:
        print(json.dumps({one.key: {"value": one.value, "from": one.origin} for one in shown}))
        return
    texts = [(one.key, json.dumps(one.value, ensure_ascii=False), one.origin) for one in shown]
    key_width = max(len(key) for key, _, _ in texts)
    value_width = min(48, max(len(value) for _, value, _ in texts))
    for key, value, origin in texts:
        print(f"{key:<{key_width}}  {value:<{value_width}}  {origin}")


@config_commands.command("example")
def example(
    role: Annotated[str, typer.Argument(help="bootstrap, coordinator or miner; devnet: what `cuckoo devnet` writes.")],
) -> None:
    """Print a commented settings file to begin with.

    $ cuckoo config example miner > miner.toml
    """
    from node.config.configuration import example_file
    from node.own_command import with_shown_command

    print(with_shown_command(example_file(role).read_text(encoding="utf-8")), end="")
