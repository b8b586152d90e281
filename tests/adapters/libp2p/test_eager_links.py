"""Who still needs a copy from us, by what neighbours show."""

from typing import ClassVar

from libp2p.peer.id import ID

from node.adapters.libp2p.eager_links import MAX_PUBLISHERS, RACE_S, WINDOW, EagerLinks

PUBLISHER = b"publisher"
SUPPLIER, TWIN, LEAF = ID(b"supplier"), ID(b"twin"), ID(b"leaf")
FIRST = 1_700_000_000 * WINDOW
"""A sequence number with which a window begins."""


def heard(links: EagerLinks, count: int, *, copies_of_twin: int, first: int = FIRST) -> None:
    """So many messages come from the supplier, and the twin sends a copy of some."""
    for number in range(count):
        links.accepted(PUBLISHER, first + number, SUPPLIER)
        if number < copies_of_twin:
            links.copied(PUBLISHER, first + number, TWIN)


def needs(links: EagerLinks, neighbour: ID, publisher: bytes = PUBLISHER) -> bool:
    """Whether a message that the supplier brings is pushed to a neighbour."""
    return neighbour in links.targets(publisher, {TWIN, LEAF}, SUPPLIER)


def test_targets__publisher_never_heard__everybody() -> None:
    assert needs(EagerLinks(), LEAF)


def test_targets__neighbour_that_sent_a_copy_of_every_message__no_longer() -> None:
    links = EagerLinks()
    heard(links, WINDOW, copies_of_twin=WINDOW)
    assert needs(links, TWIN), "the window has not ended"
    heard(links, 1, copies_of_twin=0, first=FIRST + WINDOW)
    assert not needs(links, TWIN)
    assert needs(links, LEAF), "it never sent a copy: ours may be all that it gets"
    assert needs(links, TWIN, b"another")
    assert links.supplied() == {SUPPLIER, TWIN}


def test_targets__neighbour_that_sent_copies_of_some__still() -> None:
    links = EagerLinks()
    heard(links, WINDOW + 1, copies_of_twin=WINDOW - 2)
    assert needs(links, TWIN)


def test_targets__few_messages_in_the_window__nothing_follows() -> None:
    links = EagerLinks()
    heard(links, WINDOW - 2, copies_of_twin=WINDOW - 2, first=FIRST + 2)
    heard(links, 1, copies_of_twin=0, first=FIRST + WINDOW)
    assert needs(links, TWIN)


def test_wanted__by_a_supplied_neighbour__it_needs_ours_again() -> None:
    links = EagerLinks()
    heard(links, WINDOW + 1, copies_of_twin=WINDOW)
    links.wanted(PUBLISHER, TWIN)
    assert needs(links, TWIN)
    assert TWIN not in links.supplied()


def test_forget__a_neighbour__it_needs_ours_when_it_returns() -> None:
    links = EagerLinks()
    heard(links, WINDOW + 1, copies_of_twin=WINDOW)
    links.forget(TWIN)
    assert needs(links, TWIN)


def test_accepted__more_publishers_than_are_remembered__the_quietest_is_forgotten() -> None:
    links = EagerLinks()
    heard(links, WINDOW + 1, copies_of_twin=WINDOW)
    for number in range(MAX_PUBLISHERS):
        links.accepted(b"%d" % number, FIRST, SUPPLIER)
    assert needs(links, TWIN)


def test_targets__two_bring_everything_in_turn__the_slower_is_shown_copies_of_its_own() -> None:
    links = EagerLinks()
    for number in range(WINDOW + 1):
        quick, slow = (SUPPLIER, TWIN) if number % 3 else (TWIN, SUPPLIER)
        links.accepted(PUBLISHER, FIRST + number, quick)
        links.copied(PUBLISHER, FIRST + number, slow)
    assert links.targets(PUBLISHER, {SUPPLIER, LEAF}, TWIN) == {TWIN, LEAF}
    assert links.targets(PUBLISHER, {TWIN, LEAF}, SUPPLIER) == {TWIN, LEAF}


def test_targets__publisher_is_a_neighbour__others_need_not_bring_its_messages() -> None:
    links = EagerLinks()
    for number in range(WINDOW + 1):
        links.accepted(PUBLISHER, FIRST + number, TWIN)
        links.copied(PUBLISHER, FIRST + number, ID(PUBLISHER))
        links.copied(PUBLISHER, FIRST + number, SUPPLIER)
    assert links.targets(PUBLISHER, {LEAF, SUPPLIER}, TWIN) == {TWIN, LEAF}


def test_asked__a_neighbour__our_copies_are_not_pushed_to_it() -> None:
    links = EagerLinks()
    heard(links, 1, copies_of_twin=0)
    assert needs(links, TWIN)
    links.asked(PUBLISHER, TWIN)
    assert not needs(links, TWIN)
    links.wanted(PUBLISHER, TWIN)
    assert needs(links, TWIN)


def asks(links: EagerLinks, *, pushed_after: float, clock: list[float]) -> bool:
    """A window in which one message comes by asking, and is pushed so much later; whether the twin may stop then."""
    for number in range(2 * WINDOW):
        quick, slow = (SUPPLIER, TWIN) if number % 2 else (TWIN, SUPPLIER)
        if number == WINDOW + 2:
            links.asked(PUBLISHER, TWIN)
            quick, slow = TWIN, SUPPLIER
        links.accepted(PUBLISHER, FIRST + number, quick)
        clock[0] += pushed_after
        links.copied(PUBLISHER, FIRST + number, slow)
    links.accepted(PUBLISHER, FIRST + 2 * WINDOW, SUPPLIER)
    return bool(links.targets(PUBLISHER, {TWIN}, SUPPLIER))


def test_asked__answer_that_a_push_follows_at_once__is_no_break() -> None:
    clock = [0.0]
    assert asks(EagerLinks(lambda: clock[0]), pushed_after=RACE_S / 2, clock=clock)


def test_asked__answer_that_no_push_follows_in_time__nobody_is_shown_to_be_superfluous() -> None:
    clock = [0.0]
    assert not asks(EagerLinks(lambda: clock[0]), pushed_after=1.0, clock=clock)


class Attack:
    """A node between two honest suppliers and one that is quicker than both, and withholds when it is alone.

    The attacker lets an honest one be first now and then, so that those are shown copies and stop; then it pushes
    nothing until the next heartbeat, by which the honest tell which messages there are, and are asked for them.
    """

    RATE = 10
    """Messages of the publisher (1/s)."""
    HONEST: ClassVar = {ID(b"honest"): 0.020, ID(b"slower"): 0.030}
    """Suppliers and how long (s) they take."""
    ATTACKER = ID(b"attacker")

    def __init__(self) -> None:
        self.time = 0.0
        self.node = EagerLinks(lambda: self.time)
        self.theirs = {peer: EagerLinks() for peer in self.HONEST}
        self.is_withholding = False
        self.late: list[int] = []
        self._missed: list[int] = []

    def run(self, messages: int) -> None:
        for number in range(messages):
            self._publish(FIRST + number, number / self.RATE)
            if (number + 1) % self.RATE == 0:
                self._beat((number + 1) / self.RATE)

    def _publish(self, sequence: int, at: float) -> None:
        arrivals = []
        for peer, delay in self.HONEST.items():
            self.theirs[peer].accepted(PUBLISHER, sequence, ID(PUBLISHER))
            if ID(b"node") in self.theirs[peer].targets(PUBLISHER, {ID(b"node")}, ID(PUBLISHER)):
                arrivals.append((at + delay, peer))
        self.is_withholding |= not arrivals
        if not self.is_withholding:
            arrivals.append((at + (0.050 if sequence % 8 < 3 and arrivals else 0.005), self.ATTACKER))
        if arrivals:
            self._arrive(sequence, sorted(arrivals))
        else:
            self._missed.append(sequence)

    def _arrive(self, sequence: int, arrivals: list[tuple[float, ID]]) -> None:
        (self.time, first), *copies = arrivals
        self.node.accepted(PUBLISHER, sequence, first)
        for peer in self.node.targets(PUBLISHER, {*self.HONEST, self.ATTACKER} - {first}, first):
            if peer in self.theirs:
                self.theirs[peer].copied(PUBLISHER, sequence, ID(b"node"))
        for self.time, peer in copies:
            self.node.copied(PUBLISHER, sequence, peer)

    def _beat(self, at: float) -> None:
        if self._missed:
            for peer, links in self.theirs.items():
                self.node.asked(PUBLISHER, peer)
                links.wanted(PUBLISHER, ID(b"node"))
            for sequence in self._missed:
                self._arrive(sequence, [(at + 0.06, next(iter(self.HONEST))), (at + 0.07, list(self.HONEST)[1])])
        self.late += self._missed
        self._missed, self.is_withholding = [], False


def test_asked__supplier_that_withholds_when_it_is_alone__less_and_less_is_late() -> None:
    attack = Attack()
    attack.run(6000)
    by_time = [sum((sequence - FIRST) // 2000 == third for sequence in attack.late) for third in range(3)]
    assert 0 < len(attack.late) < 150
    assert by_time[2] <= 30
