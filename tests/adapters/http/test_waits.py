"""What tells a call that its client has left."""

from node.adapters.http.waits import Leaving


def test_tells__client_leaves_meanwhile__tells_once():
    leaving, told = Leaving(), []
    with leaving.tells(lambda: told.append(1)):
        assert told == []
        leaving.happened()
    assert told == [1]


def test_tells__client_left_before__tells_at_once():
    leaving, told = Leaving(), []
    leaving.happened()
    with leaving.tells(lambda: told.append(1)):
        assert told == [1]


def test_tells__client_leaves_afterwards__tells_nobody():
    leaving, told = Leaving(), []
    with leaving.tells(lambda: told.append(1)):
        pass
    leaving.happened()
    assert told == []
