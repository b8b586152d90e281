"""A chaos run: a network of processes, a plan of blows, two apps that order all the while, and the books at the end."""

import dataclasses
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil
import trio

from node.adapters.chain.devchain import free_port
from node.devnet import Devnet, registered_network
from node.devnet_plan import DevnetMember, DevnetOptions, write_config
from node.settings import NodeRole
from protocol.crypto.keys import NodeKey
from tests.chaos.fleet import Fleet, pid_of_chain
from tests.chaos.ledgers import HEADING, Books, Row, differences, read_books, rows
from tests.chaos.logs import told_wrongly, wrong_lines
from tests.chaos.schedule import Blow, Strike, Target, counted, plan
from tests.chaos.settling import ask_contracts, checked_by_itself, read_diary

ESCROW_CAI: Final = 100_000
PLAIN: Final = "sdxl-turbo"
"""What miners with the instant engine serve where one with an engine of its own serves pocket-emoji: so nobody compares
pictures of both."""
DRAWN: Final = "pocket-emoji"
SERVE_S: Final = 90.0
SETTLE_S: Final = 300.0
"""Within this all tasks have ended and all vouchers are paid, once everybody is back: tasks that nobody asks for any
more end with their app's lease, and a voucher is redeemed 5 s after its receipt."""
RECHECK_S: Final = 10.0
"""Within this a finished task that is drawn by lot is ordered again: else the books would not rest for ten minutes."""
CHAIN: Final = "chain"
APPS: Final = ("app-http", "app-overlay")
ROLES: Final = ("coordinator", "miner")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a run is like."""

    seconds: float
    seed: int
    miners: int = 3
    """With the instant engine."""
    engine: bool = True
    """One more miner, with an engine in a child process, which is killed too."""
    delay_ms: int = 400
    pause_s: tuple[float, float] = (1.0, 6.0)
    """Between two blows."""
    order_s: float = 0.3
    """Between two orders of an app, on average."""
    rechecks: bool = True
    """Coordinators have finished tasks drawn again: more to be paid, and to be waited for at the end."""
    in_flight: int = 6
    """Orders of an app that are under way at once."""


@dataclass
class Result:
    """What came of it."""

    strikes: tuple[Strike, ...]
    rows: tuple[Row, ...] = ()
    books: Mapping[str, Books] = field(default_factory=dict)
    lives: Mapping[str, int] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def table(self) -> list[str]:
        """Give what is to be printed."""
        done = sum(book.done for book in self.books.values())
        failed = sum(book.failed for book in self.books.values())
        blows = ", ".join(f"{kind} {number}" for kind, number in sorted(counted(self.strikes).items()))
        return [
            f"blows: {blows}",
            f"lives: {', '.join(f'{name} {number}' for name, number in self.lives.items())}",
            f"orders: {', '.join(f'{how} {number}' for how, number in sorted(self.orders.items()))}",
            f"accepted tasks: {done} done, {failed} failed, each once; all sums in CAI:",
            HEADING,
            *(str(row) for row in self.rows),
            *(f"WRONG: {problem}" for problem in self.problems),
        ]


async def run(options: Options, folder: Path, say: Say) -> Result:
    """Run everything in an empty folder, and compare the books; whatever is wrong stands in the result."""
    world = _World(options, folder, say)
    network = DevnetOptions(
        coordinators=2,
        miners=options.miners + options.engine,
        models=(PLAIN if options.engine else DRAWN,),
        engine="instant",
        delay_ms=options.delay_ms,
        escrow_cai=ESCROW_CAI,
        port=0,
        data=folder,
    )
    async with registered_network(network, say) as devnet, trio.open_nursery() as nursery:
        world.fleet = Fleet(nursery)
        try:
            await world.begin(devnet, network)
            await world.strike()
            await world.settle(devnet)
        finally:
            await world.fleet.stop_all()
            nursery.cancel_scope.cancel()
    return world.result


class _World:
    """One run."""

    fleet: Fleet
    _differences: list[str]

    def __init__(self, options: Options, folder: Path, say: Say) -> None:
        self._options = options
        self._folder = folder
        self._say = say
        self._urls: list[str] = []
        self._chain_pid = 0
        self.result = Result(plan(options.seed, options.seconds, self._targets(), options.pause_s))

    def _targets(self) -> list[Target]:
        both = (Blow.KILL, Blow.FREEZE)
        miners = [f"miner-{number + 1}" for number in range(self._options.miners + self._options.engine)]
        engine = [Target(f"engine-{miners[-1]}", (Blow.KILL,), 0.0)] if self._options.engine else []
        return [
            Target("bootstrap", (Blow.KILL,), 6.0),
            *(Target(f"coordinator-{number}", both, 6.0, 3) for number in (1, 2)),
            *(Target(miner, both, 8.0, 2) for miner in miners),
            *(Target(app, (Blow.KILL,), 4.0) for app in APPS),
            Target(CHAIN, (Blow.FREEZE,), 8.0),
            *engine,
        ]

    async def begin(self, devnet: Devnet, network: DevnetOptions) -> None:
        """Start every node, wait until all serve, start the apps, and wait until both have ordered."""
        self._chain_pid = pid_of_chain()
        catalog = self._folder / "models.toml"
        catalog.write_text(f'[models."{PLAIN}"]\ndigest = "{"11" * 32}"\n', encoding="utf-8")
        bootstrap = devnet.members[0]
        ports = {member.name: free_port(0) for member in devnet.members}
        entries = (f"/ip4/127.0.0.1/tcp/{ports[bootstrap.name]}/p2p/{NodeKey(bootstrap.secret).peer_id}",)
        devnet.write_network_file(entries)
        for member in devnet.members:
            await self._start(member, devnet, network, () if member is bootstrap else entries, ports[member.name])
        await self._until(self._all_serve, "all coordinators know all miners", SERVE_S)
        models = [PLAIN] * 4 + [DRAWN] if self._options.engine else [DRAWN]  # one miner draws these, some seconds each
        common = ["--models", *models, "--pause", str(self._options.order_s)]
        common += ["--in-flight", str(self._options.in_flight)]
        for name, flags in (("app-http", ["--urls", *self._urls]), ("app-overlay", ["--entries", *entries])):
            command = ["tests.chaos.app", "--name", name, "--diary", str(self._diary(name))]
            await self.fleet.start(name, [*command, *flags, *common], self._folder / f"{name}.log")
        await self._until(self._all_order, "both apps order", SERVE_S)

    async def _start(
        self, member: DevnetMember, devnet: Devnet, network: DevnetOptions, entries: tuple[str, ...], port: int
    ) -> None:
        mine = network
        if self._options.engine and member.name == f"miner-{network.miners}":
            mine = dataclasses.replace(network, engine="diffusion", models=(DRAWN,), delay_ms=0, threads=1)
        config = write_config(member, mine, devnet.chain_section(), entries, port=port)
        if member.role is not NodeRole.BOOTSTRAP:
            said = config.read_text(encoding="utf-8")
            more = self._coordinator_section() if member.role is NodeRole.COORDINATOR else ""
            config.write_text(f'catalog = "{self._folder / "models.toml"}"\n{said}{more}', encoding="utf-8")
        command = ["node", "node", "--role", member.role.value, "--config", str(config), "--json", "--exit-with-stdin"]
        if member.role is NodeRole.COORDINATOR:
            http = free_port(0)
            self._urls.append(f"http://127.0.0.1:{http}")
            command += ["--http-port", str(http)]
        await self.fleet.start(member.name, command, member.folder / "log")

    def _coordinator_section(self) -> str:
        shares = "" if self._options.rechecks else "recheck_percent = 0.0\nrecheck_newcomer_percent = 0.0\n"
        return f"\n[coordinator]\nrecheck_within_s = {RECHECK_S}\n{shares}"

    async def _all_serve(self) -> str:
        """Say what is missing until every coordinator serves with all miners; empty then."""
        wanted = {PLAIN: self._options.miners, DRAWN: 1} if self._options.engine else {DRAWN: self._options.miners}
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            for url in self._urls:
                try:
                    answer = await client.get(f"{url}/v1/models")
                except httpx.TransportError as error:
                    return f"{url}: {type(error).__name__}"
                serving = {model["id"]: model["cuckoo"]["miners"] for model in answer.json()["data"]}
                missing = [model for model, number in wanted.items() if serving.get(model, 0) < number]
                if missing:
                    return f"{url} has {serving}"
        return ""

    async def _all_order(self) -> str:
        """Say which apps have begun no order yet; empty when both have."""
        return ", ".join(app for app in APPS if not self._diary(app).exists())

    async def _until(self, missing: Callable[[], Awaitable[str]], what: str, limit_s: float) -> bool:
        """Wait until nothing is missing; says whether that came, and keeps what was missing as a problem."""
        last = ""
        with trio.move_on_after(limit_s):
            while True:
                last = await missing()
                if not last:
                    return True
                await trio.sleep(0.25)
        self.result.problems.append(f"waited {limit_s:.0f} s in vain until {what}: {last}")
        return False

    # The blows

    async def strike(self) -> None:
        """Do what the plan says, each blow at its moment; everybody is back at the end."""
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for strike in self.result.strikes:
                await trio.sleep_until(begun + strike.at)
                nursery.start_soon(self._blow, strike)
            await trio.sleep_until(begun + self._options.seconds)

    async def _blow(self, strike: Strike) -> None:
        self._say(f"{strike.at:7.2f} s  {strike.blow} {strike.target} for {strike.for_s:.2f} s")
        if strike.target == CHAIN:
            os.kill(self._chain_pid, signal.SIGSTOP)
            try:
                await trio.sleep(strike.for_s)
            finally:
                os.kill(self._chain_pid, signal.SIGCONT)
        elif strike.target.startswith("engine-"):
            for child in self.fleet.children(strike.target.removeprefix("engine-")):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        elif strike.blow is Blow.FREEZE:
            self.fleet.freeze(strike.target)
            await trio.sleep(strike.for_s)
            self.fleet.thaw(strike.target)
        else:
            await self.fleet.kill(strike.target)
            await trio.sleep(strike.for_s)
            await self.fleet.again(strike.target)

    # The books

    async def settle(self, devnet: Devnet) -> None:
        """Let apps end, wait until all is paid, and compare everything."""
        self._say("all are back; orders and payments come to their end")
        for app in APPS:
            if not await self.fleet.finish(app, SETTLE_S):
                self.result.problems.append(f"{app} did not bring its orders to an end within {SETTLE_S:.0f} s")

        async def unfinished() -> str:
            await self._compare(devnet)
            return "; ".join(self._differences[:2])

        await self._until(unfinished, "the books balance", SETTLE_S)
        problems = self.result.problems
        problems += self._differences
        for member, _ in devnet.registered():
            wrong = await checked_by_itself(member.name, member.folder, devnet.network_path)
            problems += [wrong] if wrong else []
        for one in self.fleet.members.values():
            problems += [*one.wrong, *wrong_lines(one.name, one.log)]
            if one.name.startswith("coordinator"):
                problems += told_wrongly(one.name, one.log, self.result.books[one.name].tasks)
            self.result.lives = {**self.result.lives, one.name: one.lives}
        for app in APPS:
            problems += read_diary(app, self._diary(app), self.result.orders)

    async def _compare(self, devnet: Devnet) -> None:
        """Put what everybody says beside each other."""
        said = await ask_contracts(devnet, ESCROW_CAI)
        nodes = {member.name: int(number) for member, number in devnet.registered()}
        books = {member.name: read_books(member.folder) for member, _ in devnet.registered()}
        by_id = {role: {nodes[name]: book for name, book in books.items() if name.startswith(role)} for role in ROLES}
        self.result.books = books
        self.result.rows = rows(by_id["coordinator"], by_id["miner"], said.pairs)
        self._differences = [*differences(books, self.result.rows, said.escrows, said.held), *said.inactive]

    def _diary(self, app: str) -> Path:
        return self._folder / f"{app}.orders"
