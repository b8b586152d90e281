"""What this machine must have for a node: its key, its folder, its ports, and ways to the network."""

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import trio

from node import keystore
from node.adapters.control import ask
from node.doctor.findings import Finding, bad, good, in_thread
from node.model_files.shelf import free_bytes
from node.settings import NodeRole, Settings
from node.standings import witnesses_in_words
from protocol.errors import ConfigError, Unavailable

LEAST_FREE_BYTES: Final = 10**9
"""Space that a data folder should have: a month of a busy coordinator's pictures is more, but a day's is less."""
DIAL_S: Final = 5.0
"""How long (s) an entry point may take to answer a dial."""

Standing = Mapping[str, Any]
"""What a running node says of itself; empty while none runs."""  # Any: what JSON holds


def running(data: Path) -> Standing:
    """Ask the node with this data folder how it stands; empty when none runs."""
    try:
        return ask(data, {"command": "status"})
    except ConfigError:
        return {}
    except Unavailable as error:
        return {"hangs": str(error)}


async def look_at_key(settings: Settings) -> Sequence[Finding]:
    """Look at the node's key: there, private, and opened by its password."""
    path, password_file = settings.keystore, settings.key.password_file
    if not path.exists():
        return [bad("key", f"{path} does not exist", f"cuckoo key new --keystore {path}")]
    try:
        address = keystore.address_of(path)
        if password_file is None:
            return [good("key", f"{address}; its password is asked for at the start")]
        await in_thread(keystore.unlock, path, password_file)
    except ConfigError as error:
        return [bad("key", str(error), f"mend {path} or its password file; both are for their owner alone: chmod 600")]
    return [good("key", f"{address}, opened by {password_file}")]


async def look_at_data(settings: Settings) -> Sequence[Finding]:
    """Look at the data folder: one that can be written, with room."""
    folder = settings.data
    try:
        if not folder.exists():
            await in_thread(lambda: folder.mkdir(parents=True, mode=0o700))
        probe = folder / ".doctor"
        await in_thread(probe.write_bytes, b"")
        await in_thread(probe.unlink)
    except OSError as error:
        fix = "give the node a folder of yours: data or --data FOLDER"
        return [bad("data", f"{folder} cannot be written ({error.strerror})", fix)]
    free = free_bytes(folder)
    if free < LEAST_FREE_BYTES:
        return [bad("disk", f"{folder} has {free / 1e9:.2f} GB free", f"free {LEAST_FREE_BYTES / 1e9:.0f} GB there")]
    return [good("disk", f"{folder} can be written and has {free / 1e9:.1f} GB free")]


async def look_at_ports(settings: Settings, standing: Standing) -> Sequence[Finding]:
    """Look whether the ports can be had that others are to know."""
    found: list[Finding] = []
    wanted = [("overlay.listen", *host_and_port(address)) for address in settings.overlay.listen]
    if settings.role is NodeRole.COORDINATOR:
        wanted.append(("http.port", settings.http.host, settings.http.port))
    for key, host, port in wanted:
        listening = [one for one in standing.get("addresses", ()) if host_and_port(one)[0] == host]
        if port == 0 and key == "overlay.listen" and listening and _is_loopback(host):
            now = host_and_port(listening[0])[1]
            found.append(good("port", f"{key}: {host}:{now} until it stops, for nodes on this machine alone"))
            continue
        if port == 0 and key == "overlay.listen" and settings.role is not NodeRole.MINER:
            fix = 'set a fixed port: overlay.listen = ["/ip4/0.0.0.0/tcp/4001"]'
            found.append(
                bad("port", f"{key}: port 0 is another one after each start: nobody finds this node again", fix)
            )
            continue
        trouble = await in_thread(_why_not_bound, host, port)
        if trouble == errno.EADDRINUSE and standing:
            found.append(good("port", f"{key}: {host}:{port} is this running node's"))
        elif trouble is not None:
            why = errno.errorcode.get(trouble, str(trouble))
            fix = f"choose another {key}, or stop what has the port: ss -ltnp 'sport = :{port}'"
            found.append(bad("port", f"{key}: {host}:{port} cannot be had ({why})", fix))
        else:
            found.append(good("port", f"{key}: {host}:{port or 'any port'} can be had"))
    return found


def _why_not_bound(host: str, port: int) -> int | None:
    """Try a port: None when it can be had, else the error's number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno
    return None


def host_and_port(address: str) -> tuple[str, int]:
    """Read the host and the TCP port of a multiaddress; port 0 where it has none."""
    parts = address.strip("/").split("/")
    port = parts[parts.index("tcp") + 1] if "tcp" in parts[:-1] else "0"
    return parts[1] if len(parts) > 1 else "", int(port) if port.isdigit() else 0


def is_public(host: str) -> bool:
    """Say whether a host may be reached from the Internet: a name may."""
    try:
        return ip_address(host).is_global
    except ValueError:
        return not host.endswith((".local", ".lan", "localhost"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def look_at_reach(settings: Settings) -> Sequence[Finding]:
    """Look whether others can dial this node, as far as its addresses tell."""
    if settings.role is NodeRole.MINER:
        return [good("reach", "a miner dials out and needs no open port, also behind a router")]
    own = await in_thread(_own_address)
    overlay = settings.overlay
    if overlay.relays and not overlay.announce:
        return [good("reach", f"it is reached through its relays, {len(overlay.relays)} in number")]
    return [judge_reach(overlay.listen, overlay.announce, overlay.bootstrap, own)]


def judge_reach(listen: Sequence[str], announce: Sequence[str], bootstrap: Iterable[str], own: str) -> Finding:
    """Say whether the addresses that a node tells can be dialled by those that it is to meet.

    Args:
        listen: Where it listens.
        announce: What it tells instead.
        bootstrap: Its entry points: where none of them is public, neither is the network.
        own: The address of this machine towards the Internet.
    """
    told = [host_and_port(address)[0] for address in (announce or listen)]
    shown = [own if host in {"0.0.0.0", "::"} else host for host in told]  # noqa: S104  it is read, not listened on
    public = [host for host in shown if is_public(host)]
    if public:
        return good("reach", f"it tells {', '.join(public)}; whether a firewall is open only others can see")
    entries = [host_and_port(address)[0] for address in bootstrap]
    if entries and not any(is_public(host) for host in entries):
        return good("reach", f"it tells {', '.join(shown)}, and its network is as local")
    fix = (
        'forward the port in the router and set overlay.announce = ["/ip4/PUBLIC-ADDRESS/tcp/PORT"], '
        "or name a relay in overlay.relays"
    )
    return bad("reach", f"it tells {', '.join(shown)}, which nobody on the Internet can dial", fix)


def _own_address() -> str:
    """Find the address from which this machine would speak to the Internet; nothing is sent for that."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # an address of documentation (RFC 5737)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


async def look_at_bootstraps(settings: Settings) -> Sequence[Finding]:
    """Dial every entry point: one that is alive is enough to join."""
    entries = settings.overlay.bootstrap
    if not entries:
        return [good("entry points", "none: it is one itself")]
    alive: list[str] = []

    async def dial(address: str) -> None:
        host, port = host_and_port(address)
        with trio.move_on_after(DIAL_S):
            try:
                stream = await trio.open_tcp_stream(host, port)
            except (OSError, ExceptionGroup):
                return
            await stream.aclose()
            alive.append(address)

    async with trio.open_nursery() as nursery:
        for address in entries:
            nursery.start_soon(dial, address)
    if not alive:
        fix = "start one, or give another: overlay.bootstrap or --bootstrap MULTIADDR"
        return [bad("entry points", f"none of {len(entries)} answers: {entries[0]}", fix)]
    return [good("entry points", f"{len(alive)} of {len(entries)} answer")]


async def look_at_node(settings: Settings, standing: Standing) -> Sequence[Finding]:
    """Say whether the node runs now, and what holds it back."""
    if not standing:
        return [good("node", f"none runs with {settings.data}")]
    if "hangs" in standing:
        return [bad("node", str(standing["hangs"]), "stop it and start it again: it lost nothing that it accepted")]
    if standing.get("staking_id") is None and settings.role is not NodeRole.BOOTSTRAP:
        fix = "wait for the next epoch but one after its registration, or see the line registration or stake"
        return [bad("node", "it runs, and the present stake table does not list it as active", fix)]
    service = standing.get("service")
    if isinstance(service, dict) and not service["open"]:
        held = ", ".join(service["held_by"])
        fix = {"owner": "cuckoo miner resume", "heat": "let the card cool, or raise miner.max_temperature_c"}.get(
            service["held_by"][0], "wait, or change miner.hours" if "hours" in held else "cuckoo miner resume"
        )
        return [bad("node", f"it runs and takes no work: {held}", fix)]
    few = [good("rechecks", witnesses_in_words(model)) for model in standing.get("few_witnesses", ())]
    return [good("node", "it runs and takes part"), *few]
