"""``cuckoo key``: make and show the key of a node."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli.account import DEFAULT_NETWORK, NetworkOption

MAX_PROOF_HOURS = 24 * 30
"""Longest life of a proof (h): a lost one should not register a node a year later."""

key_commands = typer.Typer(help="Make or show a key: a node's, or your account's.", no_args_is_help=False)

KeystoreOption = Annotated[Path, typer.Option("--keystore", help="File of the encrypted key.")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password (chmod 600); else you are asked.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON line.")]

DEFAULT_KEYSTORE = Path("key.json")


@key_commands.command("new")
def new(
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    password_file: PasswordOption = None,
    light: Annotated[bool, typer.Option("--light", help="Weak and quick: for devnet keys only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key, encrypted with a password (Web3 secret storage, as every Ethereum tool reads it).

    A node's hot key identifies it and signs its messages. Your account, which owns nodes, votes and withdraws, is
    another key, and never belongs on the node's machine.

      $ cuckoo key new --keystore ~/.cuckoo/miner/key.json

      $ cuckoo key new --keystore account.json
    """
    from node import keystore as store
    from protocol.errors import ConfigError

    path = keystore.expanduser()
    if path.exists():
        raise ConfigError(f"--keystore: {path} exists already; keys are never overwritten: name another file")
    secret = store.create(path, store.new_password(password_file), light=light)
    if light:
        print("warning: a light key is for a devnet only: its password can be guessed quickly", file=sys.stderr)
    _print(path, secret, as_json)


@key_commands.command("prove")
def prove(
    owner: Annotated[str, typer.Option(metavar="0x…", help="The account that will own the node.")],
    role: Annotated[str, typer.Option(help="miner or coordinator.")],
    network: NetworkOption = DEFAULT_NETWORK,
    keystore: KeystoreOption = DEFAULT_KEYSTORE,
    password_file: PasswordOption = None,
    hours: Annotated[int, typer.Option(min=1, max=MAX_PROOF_HOURS, help="How long the proof holds.")] = 24,
) -> None:
    """Let a node's key agree to serve an owner, and print its signed word for the owner to register it with.

    Whoever gets the proof can do nothing else with it, and it expires. It is made where the node's key lies, and used
    where the owner's account is: in cuckoo register, or in the portal.

      $ cuckoo key prove --owner 0x… --role miner --keystore key.json --network network.toml > proof.json
    """
    from datetime import UTC, datetime

    from node import keystore as store
    from node.addresses import checked_address
    from node.network_file import read_network
    from node.owner.registration_proof import RegistrationProof
    from protocol.crypto.keys import NodeKey
    from protocol.errors import ConfigError
    from protocol.units import Role

    if role not in {"miner", "coordinator"}:
        raise ConfigError(f"--role: {role!r} is not one of miner, coordinator")
    described = read_network(network)
    who = checked_address(owner, "--owner")
    key = NodeKey(store.unlock(keystore.expanduser(), password_file))
    if who.lower() == "0x" + key.address.hex():
        raise ConfigError("--owner: this is the node's own key, and a node never owns itself: give your account")
    deadline = int(datetime.now(UTC).timestamp()) + hours * 3600
    print(RegistrationProof.make(described, key, who, Role[role.upper()], deadline).text())


@key_commands.command("show")
def show(
    keystore: KeystoreOption = DEFAULT_KEYSTORE, password_file: PasswordOption = None, as_json: JsonOption = False
) -> None:
    """Show a key's address and peer id; the secret itself is never shown.

    $ cuckoo key show --keystore ~/.cuckoo/miner/key.json
    """
    from node import keystore as store

    path = keystore.expanduser()
    secret = store.unlock(path, password_file)
    _print(path, secret, as_json)


def _print(path: Path, secret: bytes, as_json: bool) -> None:
    """Print what may be known of a key."""
    import json

    from protocol.crypto.keys import NodeKey

    key = NodeKey(secret)
    known = {"address": "0x" + key.address.hex(), "peer_id": key.peer_id, "keystore": str(path.absolute())}
    if as_json:
        print(json.dumps(known))
    else:
        print("\n".join(f"{name.replace('_', ' '):<9} {value}" for name, value in known.items()))
