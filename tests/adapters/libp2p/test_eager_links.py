"""Who still needs a copy from us, by what neighbours show."""

from libp2p.peer.id import ID

from node.adapters.libp2p.eager_links import MAX_PUBLISHERS, WINDOW, EagerLinks

PUBLISHER = b"publisher"
SUPPLIER, TWIN, LEAF = ID(b"supplier"), ID(b"twin"), ID(b"leaf")
FIRST = 1_700_000_000 * WINDOW
"""A sequence number with which a window begins."""


def heard(links: EagerLinks, count: int, *, copies_of_twin: int, first: int = FIRST) -> None:
    """So many messages come from the supplier, and the twin sends a copy of some."""
    for number in range(count):
        links.accepted(PUBLISHER, first + number, SUPPLIER)
        if number < copies_of_twin:
            links.copied(PUBLISHER, TWIN)


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
        links.copied(PUBLISHER, slow)
    assert links.targets(PUBLISHER, {SUPPLIER, LEAF}, TWIN) == {TWIN, LEAF}
    assert links.targets(PUBLISHER, {TWIN, LEAF}, SUPPLIER) == {TWIN, LEAF}


def test_targets__publisher_is_a_neighbour__others_need_not_bring_its_messages() -> None:
    links = EagerLinks()
    for number in range(WINDOW + 1):
        links.accepted(PUBLISHER, FIRST + number, TWIN)
        links.copied(PUBLISHER, ID(PUBLISHER))
        links.copied(PUBLISHER, SUPPLIER)
    assert links.targets(PUBLISHER, {LEAF, SUPPLIER}, TWIN) == {TWIN, LEAF}
