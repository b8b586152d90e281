"""Which models a device holds."""

import pytest

from node.adapters.engine.residents import Residents

ROOM = 10


class Device:
    """A device with room for ten; what it holds it knows by the models' own sizes."""

    def __init__(self):
        self.told = []
        self.released = 0
        self.residents = Residents(lambda error: isinstance(error, MemoryError), self.release, self.told.append)

    def release(self):
        self.released += 1

    def taken(self):
        return sum(int(name[1:]) for name in self.residents.names())

    def bring(self, name, most=0):
        def build():
            if self.taken() + int(name[1:]) > ROOM:
                raise MemoryError
            return f"model {name}"

        return self.residents.bring(name, build, most)


@pytest.fixture
def device():
    return Device()


def test_bring__all_fit__all_are_held(device):
    assert [device.bring(name) for name in ("a3", "b3", "c4")] == ["model a3", "model b3", "model c4"]
    assert device.residents.names() == ("a3", "b3", "c4")
    assert device.told == [("a3",), ("a3", "b3"), ("a3", "b3", "c4")]


def test_bring__one_does_not_fit__those_used_longest_ago_leave_until_it_does(device):
    for name in ("a3", "b3", "c4"):
        device.bring(name)
    assert device.residents.use("a3") == "model a3"
    device.bring("d5")
    assert device.residents.names() == ("a3", "d5")
    assert device.told[-3:] == [("c4", "a3"), ("a3",), ("a3", "d5")]
    assert device.released == 2


def test_bring__larger_than_the_device__all_leave_and_it_is_refused(device):
    device.bring("a3")
    with pytest.raises(MemoryError):
        device.bring("b11")
    assert device.residents.names() == ()


def test_bring__another_fault__costs_nobody_the_place(device):
    device.bring("a3")

    def fail():
        raise ValueError("corrupt")

    with pytest.raises(ValueError, match="corrupt"):
        device.residents.bring("b3", fail)
    assert device.residents.names() == ("a3",)


def test_bring__as_many_as_wanted__the_oldest_leaves_first(device):
    for name in ("a1", "b1", "c1"):
        device.bring(name, most=2)
    assert device.residents.names() == ("b1", "c1")


def test_bring__again__replaces_it(device):
    device.bring("a8")
    device.bring("a8")
    assert device.residents.names() == ("a8",)


def test_leave_alone__others_there__they_leave_once(device):
    for name in ("a3", "b3", "c4"):
        device.bring(name)
    assert device.residents.leave_alone("b3")
    assert device.residents.names() == ("b3",)
    assert not device.residents.leave_alone("b3")


def test_use__not_held__is_none(device):
    assert device.residents.use("a3") is None
