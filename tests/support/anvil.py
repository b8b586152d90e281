"""A real anvil for tests: one process per session, put back to the same state after each test.

Driven by plain JSON-RPC and eth_abi, so that contract tests do not rest on the code that other tests examine.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from eth_abi import decode, encode
from eth_utils import function_abi_to_4byte_selector, to_checksum_address
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic

from contracts.bindings import Artifact
from node.adapters.chain.devchain import KEPT_STATES, find_anvil, free_port
from protocol.errors import ConfigError
from tests.support.patience import PATIENCE_S

LEFT_IN_POOL_S = 5.0
"""A transaction that has no receipt by then (s) was left in the pool, as anvil does under load until the next block."""
CALL_GAS = 20_000_000
"""What a call may use: two thirds of a block."""


class Reverted(Exception):
    """The contract refused; the text is its reason."""


@dataclass(frozen=True)
class Contract:
    """A deployed contract."""

    artifact: Artifact = field(repr=False)
    address: str


class Anvil:
    """Transactions and reads on one anvil, with its unlocked accounts."""

    watcher: "Callable[[Anvil, str, tuple[Any, ...], Any], None] | None" = None
    """Hears every request with its answer; a call before it is made, without one, since it may be refused."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(timeout=PATIENCE_S, trust_env=False)
        self.gas = 0
        """What the last transaction used."""
        self.sent: list[tuple[str, str, bool]] = []
        """Contract and function of every call in a transaction, and whether it was carried out or refused."""
        self.accounts: list[str] = [to_checksum_address(account) for account in self.rpc("eth_accounts")]

    def rpc(self, method: str, *params: Any) -> Any:
        """Ask anvil; what is refused raises ``Reverted``."""
        if method == "eth_call" and Anvil.watcher is not None:
            Anvil.watcher(self, method, params, None)
        answer = self.asked(method, *params)
        if method != "eth_call" and Anvil.watcher is not None:
            Anvil.watcher(self, method, params, answer)
        return answer

    def asked(self, method: str, *params: Any) -> Any:
        """Ask anvil as ``rpc`` does, heard by nobody."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.client.post(self.url, json=body).json()
        if "error" in answer:
            message = answer["error"]["message"]
            if "revert" in message:
                raise Reverted(message)
            raise RuntimeError(f"{method}: {message}")
        return answer["result"]

    def deploy(self, artifact: Artifact, *arguments: Any) -> Contract:
        constructor = next((entry for entry in artifact.abi if entry["type"] == "constructor"), {"inputs": []})
        data = artifact.bytecode + encode([collapse_if_tuple(i) for i in constructor["inputs"]], arguments)
        receipt = self._mined({"from": self.accounts[0], "data": "0x" + data.hex()})
        return Contract(artifact, to_checksum_address(receipt["contractAddress"]))

    def send(self, sender: str, contract: Contract, function: str, *arguments: Any) -> list[dict[str, Any]]:
        """Call in a transaction; gives the decoded events of this contract."""
        data = call_data(_function(contract.artifact, function, len(arguments)), arguments)
        name = contract.artifact.name
        try:
            # No estimate: it is made for the second before, and a new epoch costs more gas.
            receipt = self._mined({"from": sender, "to": contract.address, "data": data, "gas": hex(CALL_GAS)})
        except Reverted:
            self.sent.append((name, function, False))
            raise
        self.sent.append((name, function, True))
        logs = [log for log in receipt["logs"] if to_checksum_address(log["address"]) == contract.address]
        return [_event(contract.artifact, log) for log in logs]

    def read(self, contract: Contract, function: str, *arguments: Any, sender: str | None = None) -> Any:
        entry = _function(contract.artifact, function, len(arguments))
        call = {"to": contract.address, "data": call_data(entry, arguments), **({"from": sender} if sender else {})}
        raw = bytes.fromhex(self.rpc("eth_call", call, "latest")[2:])
        values = decode([collapse_if_tuple(output) for output in entry["outputs"]], raw)
        return values[0] if len(values) == 1 else values

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def next_at(self, timestamp: int) -> None:
        """Say at which second the next block is made."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def impersonate(self, address: str) -> None:
        """Send from an address whose key nobody has, a contract's for example."""
        self.rpc("anvil_impersonateAccount", address)
        self.rpc("anvil_setBalance", address, hex(10**20))

    def wait(self, seconds: int) -> None:
        """Make a block so many seconds after the last one."""
        self.next_at(self.now() + seconds)
        self.rpc("evm_mine")

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Make each block a second after the one before, however long this machine takes between them."""
        self.rpc("anvil_setBlockTimestampInterval", 1)
        try:
            yield
        finally:
            self.rpc("anvil_removeBlockTimestampInterval")

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Put the chain back afterwards."""
        snapshot = self.rpc("evm_snapshot")
        try:
            yield
        finally:
            assert self.rpc("evm_revert", snapshot)
            self.rpc("anvil_dropAllTransactions")  # what waits in the pool is no state and survives the revert

    def _mined(self, transaction: dict[str, Any]) -> dict[str, Any]:
        sent = self.rpc("eth_sendTransaction", transaction)
        begun = looked = time.monotonic()
        while (now := time.monotonic()) < begun + PATIENCE_S:  # anvil may answer before the receipt exists
            if now > looked + LEFT_IN_POOL_S:
                looked = now
                self.rpc("evm_mine")
            receipt = self.rpc("eth_getTransactionReceipt", sent)
            if receipt is not None:
                if receipt["status"] != "0x1":
                    self.rpc("eth_call", transaction, "latest")  # nothing changed: the same call tells why
                    raise AssertionError("reverted, and does not when called again")
                self.gas = int(receipt["gasUsed"], 16)
                return receipt
            time.sleep(0.002)
        raise AssertionError("no receipt")


def _function(artifact: Artifact, name: str, arguments: int) -> dict[str, Any]:
    return next(
        entry
        for entry in artifact.abi
        if entry["type"] == "function" and entry["name"] == name and len(entry["inputs"]) == arguments
    )


def call_data(entry: dict[str, Any], arguments: tuple[Any, ...]) -> str:
    """Encode a call of a function that is given by its ABI entry."""
    selector = function_abi_to_4byte_selector(entry)
    return "0x" + (selector + encode([collapse_if_tuple(i) for i in entry["inputs"]], arguments)).hex()


def _event(artifact: Artifact, log: dict[str, Any]) -> dict[str, Any]:
    topic = bytes.fromhex(log["topics"][0][2:])
    entry = next(e for e in artifact.abi if e["type"] == "event" and event_abi_to_log_topic(e) == topic)
    indexed = [i for i in entry["inputs"] if i["indexed"]]
    plain = [i for i in entry["inputs"] if not i["indexed"]]
    values = {
        i["name"]: decode([i["type"]], bytes.fromhex(word[2:]))[0]
        for i, word in zip(indexed, log["topics"][1:], strict=True)
    }
    decoded = decode([i["type"] for i in plain], bytes.fromhex(log["data"][2:]))
    return {"event": entry["name"], **values, **{i["name"]: v for i, v in zip(plain, decoded, strict=True)}}


@contextmanager
def running_anvil(*options: str, kept_states: int = KEPT_STATES) -> Iterator[Anvil]:
    """Start anvil with automatic mining and so many past states, under the guard that also serves devnets.

    Without anvil the test is skipped, visibly; in CI that is an error.
    """
    try:
        binary = find_anvil()
    except ConfigError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    port = free_port(0)
    command = [sys.executable, "-m", "node.adapters.chain.guard", "--", str(binary)]
    # Else it writes each older state to the home folder: half a gigabyte for a folder of tests, left there when killed.
    command += ["--port", str(port), "--quiet", "--prune-history", str(kept_states), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    anvil = None
    try:
        end = time.monotonic() + PATIENCE_S
        while anvil is None and time.monotonic() < end:
            try:
                anvil = Anvil(f"http://127.0.0.1:{port}")
            except httpx.TransportError:
                assert process.poll() is None, "anvil did not start"
                time.sleep(0.02)
        assert anvil is not None, "anvil did not answer"
        yield anvil
    finally:
        if anvil is not None:
            anvil.client.close()
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="session")
def anvil_process() -> Iterator[Anvil]:
    """One anvil for all tests of a folder."""
    with running_anvil() as anvil:
        yield anvil
