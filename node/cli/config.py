"""``cuckoo config``: check and show settings before a node runs with them."""

from pathlib import Path
from typing import Annotated

import typer

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

    from node import keystore
    from node.configuration import load_settings
    from node.gateway import reviewers_of
    from node.model_shelf import require_models

    for file in files:
        settings = load_settings(file, {})
        require_models(settings)
        reviewers_of(settings)
        keystore.require_files(settings.keystore, settings.key.password_file)
        if settings.chain.gas_keystore is not None:
            keystore.require_files(
                settings.chain.gas_keystore, settings.chain.gas_password_file, "chain.gas_password_file"
            )
        if as_json:
            print(json.dumps({"file": str(file), "role": settings.role.value, "network": settings.params.name}))
        else:
            print(f"{file}: good for a {settings.role} on {settings.params.name}")


@config_commands.command("show")
def show(
    file: FileArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Show every setting that counts, the network's numbers too, and whence each came. Nothing secret is shown.

    $ cuckoo config show miner.toml
    """
    import json

    from node.configuration import load_with_origins
    from node.shown_settings import shown_settings

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
    from node.configuration import example_file
    from node.own_command import with_shown_command

    print(with_shown_command(example_file(role).read_text(encoding="utf-8")), end="")
