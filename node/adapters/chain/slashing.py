"""Asks the chain whether evidence can be proven now, before anybody pays for a transaction that shows it.

Nothing is sent: the proof is tried with ``eth_call``, beside what the contracts say of its signer. Evidence waits here,
in the order in which it came, while no chain node answers.
"""

from collections.abc import Mapping
from typing import Any, Final, final

import trio

from contracts.bindings import ContractName, load
from node.adapters.chain.abi import BadCall, call_data, is_revert, reason_of, returned
from node.adapters.chain.answers import CallRefused, octets, quantity
from node.adapters.chain.contract_calls import ContractCalls
from node.adapters.chain.gas_view import ask
from node.adapters.chain.rpc import JsonRpc
from node.ports import EventSink, Journal
from protocol.errors import Unavailable
from protocol.events import EvidenceChecked, Provability
from protocol.justice.evidence import Evidence, name_of, proof_call
from protocol.notes import NoteName
from protocol.units import Address, Wei

MAX_WAITING: Final = 256
"""Evidence that waits for an answer; a core has no more on file."""
FIRST_PAUSE_S: Final = 1.0
"""Pause (s) before the same question is asked again; it doubles up to MAX_PAUSE_S."""
MAX_PAUSE_S: Final = 60.0
NOBODY: Final = Address(bytes(20))
ANYBODY: Final = Address(b"\x01" * 20)
"""Who is named as receiver where only the contract's answer matters."""


@final
class ProofChecker:
    """Answers ``CheckEvidence`` for one node."""

    def __init__(self, rpc: JsonRpc, staking: Address, own: Address | None, journal: Journal) -> None:
        """Find the contracts by the staking contract, and our owner by our key's address."""
        self._rpc = rpc
        self._calls = ContractCalls(rpc, staking)
        self._staking = staking
        self._own = own
        self._journal = journal

    async def run(self, waiting: "Questions", sink: EventSink) -> None:
        """Answer until cancelled, one after the other; what fails is asked again."""
        pause = FIRST_PAUSE_S
        while True:
            evidence = await waiting.next()
            try:
                answer = await self.check(evidence)
            except (Unavailable, CallRefused) as error:
                self._journal.note(NoteName.CHAIN_STALLED, reason=str(error)[:200])
                await trio.sleep(pause)
                pause = min(MAX_PAUSE_S, 2 * pause)
                continue
            pause = FIRST_PAUSE_S
            waiting.done(evidence)
            await sink.post(answer)

    async def check(self, evidence: Evidence) -> EvidenceChecked:
        """Ask, and give the answer.

        Raises:
            Unavailable: The chain node does not answer.
            CallRefused: It does not answer such questions.
        """
        try:
            to, data = await self._calls.encoded(proof_call(evidence, ANYBODY))
        except BadCall as error:
            return self._answer(evidence, Provability.REFUSED, str(error)[:300], NOBODY, Wei(0))
        signer = evidence.signer
        subject = bytes(evidence.subject)
        questions = [
            self._question("Slashing", to, "proven", signer, int(evidence.KIND), subject),
            self._question("Slashing", to, "slash_now", signer),
            self._question("Staking", self._staking, "standing", signer),
            self._question("Staking", self._staking, "id_by_key", bytes(self._own or NOBODY)),
            ("eth_call", ({"to": "0x" + to.hex(), "data": "0x" + data.hex()}, "latest")),
            ("eth_getBlockByNumber", ("latest", False)),
            ("eth_gasPrice", ()),
        ]
        proven, slash, standing, own, tried, block, price = await ask(self._rpc, questions)
        for answer in (proven, slash, standing, own, block, price):
            if isinstance(answer, CallRefused):
                raise answer
        if not isinstance(block, dict):
            raise Unavailable("the chain node sent no latest block")
        gas_price = Wei(quantity(block.get("baseFeePerGas") or price))
        receiver = await self._owner(self._value("Staking", "id_by_key", own)[0])
        found, detail = Provability.PROVABLE, ""
        if self._value("Slashing", "proven", proven, arguments=3)[0]:
            found, detail = Provability.ALREADY_PROVEN, "somebody has shown it to the contract"
        elif isinstance(tried, CallRefused):
            if not is_revert(tried):
                raise tried
            found, detail = Provability.REFUSED, reason_of(tried)
        elif not self._has_stake(self._value("Staking", "standing", standing)[0]):
            found, detail = Provability.NOTHING_LEFT, "it has no stake that could be slashed"
        elif not self._value("Slashing", "slash_now", slash)[0]:
            found, detail = Provability.RESPITE, "it was slashed lately, and a proof would slash nothing"
        return self._answer(evidence, found, detail, receiver, gas_price)

    @staticmethod
    def _answer(
        evidence: Evidence, found: Provability, detail: str, receiver: Address, gas_price: Wei
    ) -> EvidenceChecked:
        return EvidenceChecked(name_of(evidence), found, detail, receiver, gas_price)

    @staticmethod
    def _has_stake(standing: Any) -> bool:  # noqa: ANN401 a tuple as the ABI has it
        """Say whether any share of it is bonded or unbonding, and worth something."""
        price, bonded, _, unbonding, *_ = standing
        return bool(price and (bonded or unbonding))

    async def _owner(self, number: int) -> Address:
        """Give the owner of a node; nobody where there is no such node."""
        if not number:
            return NOBODY
        (answer,) = await ask(self._rpc, [self._question("Staking", self._staking, "node", number)])
        if isinstance(answer, CallRefused):
            raise answer
        return Address(bytes.fromhex(self._value("Staking", "node", answer)[0][0][2:]))

    @staticmethod
    def _question(
        name: ContractName, to: Address, view: str, *arguments: int | bytes
    ) -> tuple[str, tuple[Mapping[str, str], str]]:
        data = "0x" + call_data(load(name), view, arguments).hex()
        return "eth_call", ({"to": "0x" + to.hex(), "data": data}, "latest")

    @staticmethod
    def _value(name: ContractName, view: str, answer: Any, *, arguments: int = 1) -> tuple[Any, ...]:  # noqa: ANN401 the ABI decides at run time
        return returned(load(name), name, view, arguments, octets(answer))


@final
class Questions:
    """Evidence that waits for an answer, each once, the oldest first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: dict[str, Evidence] = {}
        self._came = trio.Event()

    def add(self, evidence: Evidence) -> None:
        """Ask; never waits. Beyond what a core may have on file nothing is taken."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.setdefault(name_of(evidence), evidence)
        self._came.set()

    async def next(self) -> Evidence:
        """Give the oldest, which stays until it is done."""
        while not self._waiting:
            await self._came.wait()
            self._came = trio.Event()
        return next(iter(self._waiting.values()))

    def done(self, evidence: Evidence) -> None:
        """It is answered."""
        self._waiting.pop(name_of(evidence), None)
