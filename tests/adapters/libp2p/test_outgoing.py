"""What goes to the socket of a connection at once, what its task sends, and in which order."""

import pytest
import trio
import trio.testing

from node.adapters.libp2p.outgoing import Outgoing, at_once
from tests.support.patience import PATIENCE_S


class Wire:
    """Connections with what each wrote, in one list; their sockets take so many bytes at once."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.sent: list[tuple[str, str, bytes]] = []

    def connection(self, name: str) -> Outgoing:
        """Give a connection: ``task`` stands before what its task wrote, ``now`` before what went at once."""

        async def write(data: bytes | bytearray) -> None:
            self.sent.append((name, "task", bytes(data)))

        def write_now(data: bytes | bytearray) -> bytes:
            taken, rest = bytes(data[: self.room]), bytes(data[self.room :])
            self.sent.append((name, "now", taken))
            return rest

        return Outgoing(write, write_now, write)


async def test_put__alone__is_sent_by_the_task_together_with_what_comes_in_the_same_turn(
    nursery: trio.Nursery,
) -> None:
    wire = Wire()
    alice = wire.connection("alice")
    nursery.start_soon(alice.run)
    alice.put(b"one ")
    alice.put(b"two")
    await trio.testing.wait_all_tasks_blocked()
    assert wire.sent == [("alice", "task", b"one two")]


async def test_at_once__several_connections__each_is_sent_all_of_it_in_the_order_of_the_first_puts() -> None:
    wire = Wire()
    alice, bob = wire.connection("alice"), wire.connection("bob")
    with at_once():
        bob.put(b"b1 ")
        alice.put(b"a1")
        with at_once():
            bob.put(b"b2")
        assert wire.sent == [], "the inner one is part of the outer one"
    assert wire.sent == [("bob", "now", b"b1 b2"), ("alice", "now", b"a1")]


async def test_at_once__put_before_and_not_sent_yet__goes_first(nursery: trio.Nursery) -> None:
    wire = Wire()
    alice = wire.connection("alice")
    nursery.start_soon(alice.run)
    alice.put(b"one ")
    with at_once():
        alice.put(b"two")
    await trio.testing.wait_all_tasks_blocked()
    assert wire.sent == [("alice", "now", b"one two")]


async def test_at_once__socket_is_full__task_sends_the_rest_before_what_comes_later(nursery: trio.Nursery) -> None:
    wire = Wire(room=3)
    alice = wire.connection("alice")
    nursery.start_soon(alice.run)
    with at_once():
        alice.put(b"abcdef")
    with at_once():
        alice.put(b"ghi")
    assert wire.sent == [("alice", "now", b"abc")], "what comes later waits"
    with trio.fail_after(PATIENCE_S):
        await alice.flush()
    assert wire.sent == [("alice", "now", b"abc"), ("alice", "task", b"def"), ("alice", "task", b"ghi")]


async def test_at_once__a_connection_that_runs_over_another__is_sent_with_it() -> None:
    wire = Wire()
    carrier = wire.connection("carrier")

    def write_now(data: bytes | bytearray) -> bytes:
        carrier.put(b"<" + data + b">")
        return b""

    async def never(_: bytes | bytearray) -> None:
        raise AssertionError("the carrier has room")

    circuit = Outgoing(never, write_now, never)
    with at_once():
        circuit.put(b"inside")
    assert wire.sent == [("carrier", "now", b"<inside>")]


async def test_at_once__fails__what_was_put_is_sent_all_the_same(nursery: trio.Nursery) -> None:
    wire = Wire()
    alice = wire.connection("alice")
    nursery.start_soon(alice.run)
    with pytest.raises(ZeroDivisionError), at_once():
        alice.put(b"one")
        raise ZeroDivisionError
    alice.put(b" two")
    await trio.testing.wait_all_tasks_blocked()
    assert wire.sent == [("alice", "task", b"one two")]


async def test_end__part_of_it_is_with_the_socket__nothing_more_is_sent(nursery: trio.Nursery) -> None:
    wire = Wire(room=3)
    alice = wire.connection("alice")
    with at_once():
        alice.put(b"abcdef")
    alice.end()
    nursery.start_soon(alice.run)
    await trio.testing.wait_all_tasks_blocked()
    assert wire.sent == [("alice", "now", b"abc")]
