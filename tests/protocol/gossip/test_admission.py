import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain
from protocol.gossip.admission import BURST_S, Admission
from protocol.gossip.verdict import Verdict
from protocol.params import MAX_MESSAGE_BYTES
from protocol.stake.book import StakeBook
from protocol.stake.epoch import epoch_start
from protocol.units import CAI, Address, Epoch, PeerId, StakingId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Abandon, AwardNotice, Bulletin
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, network_params, row, trio, view

PARAMS = network_params()  # epochs of 60 s, tolerance 10 s
MODEL = "pocket-emoji"
TOPIC = f"/cuckoo/1/test/offers/{MODEL}"
EPOCH = 5
NOW = UnixMillis(epoch_start(Epoch(EPOCH), PARAMS) + 30_000)
STRANGER = NodeKey(b"\x77" * 32)
DOMAIN = Domain(31337, Address(b"\x11" * 20))


def bulletin(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "coordinator": 3,
        "model": MODEL,
        "addresses": (),
        "epoch": EPOCH,
        "root": view(EPOCH).table.root,
        "field": b"\x0f",
        "sent_at": NOW,
        "offers": (),
        "awards": (),
        "closures": (),
    }
    return encode(Bulletin.model_validate(fields | changes))


def admission(*, head: int | None = NOW, epochs: tuple[int, ...] = (4, 5, 6), rows=None) -> Admission:
    book = StakeBook(PARAMS)
    for epoch in epochs:
        book.add(view(epoch, rows))
    if head is not None:
        book.head_seen(UnixMillis(head))
    return Admission("test", PARAMS, book, DOMAIN)


def judged(data: bytes, signer: PeerId = CAROL.peer_id, *, by: Admission | None = None, topic: str = TOPIC, now=NOW):
    judgement = (by or admission()).judge(topic, data, signer, now)
    assert (judgement.message is not None) == (judgement.verdict is Verdict.ACCEPT)
    return judgement.verdict, judgement.rule


ACCEPTED = (Verdict.ACCEPT, "gossip.accepted")


def ignored(rule: str) -> tuple[Verdict, str]:
    return Verdict.IGNORE, rule


def rejected(rule: str) -> tuple[Verdict, str]:
    return Verdict.REJECT, rule


def test_judge__active_coordinator_in_time__is_accepted_with_its_message():
    judgement = admission().judge(TOPIC, bulletin(), CAROL.peer_id, NOW)
    assert (judgement.verdict, judgement.rule) == ACCEPTED
    assert judgement.message is not None
    assert judgement.message.coordinator == 3


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "message.malformed"),
        (b"\x00" * 200, "message.malformed"),
        (b"\x80" * (MAX_MESSAGE_BYTES + 1), "message.oversize"),
        (encode(Abandon(task=bytes(32), attempt=0, reason="late")), "message.unexpected_kind"),
    ],
    ids=["empty", "garbage", "oversize", "kind"],
)
def test_judge__wrong_in_every_view__is_rejected(data, rule):
    assert judged(data) == rejected(rule)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"kind": "auction", "version": 1}, "message.unknown_kind"),
        ({"kind": "bulletin", "version": 2}, "message.newer_version"),
    ],
)
def test_judge__from_a_newer_peer__is_ignored(fields, rule):
    assert judged(msgpack.packb(fields)) == ignored(rule)


@pytest.mark.parametrize("topic", [TOPIC + "x", "/cuckoo/1/other/offers/" + MODEL, "", "/cuckoo/1/test/offers/"])
def test_judge__on_another_topic__is_rejected(topic):
    assert judged(bulletin(), topic=topic) == rejected("gossip.topic")


def test_judge__signer_in_no_table_while_healthy__is_rejected():
    assert judged(bulletin(), STRANGER.peer_id) == rejected("gossip.stranger")


@pytest.mark.parametrize("head", [None, NOW - 31_000])
def test_judge__signer_in_no_table_while_we_lag__is_ignored(head):
    assert judged(bulletin(), STRANGER.peer_id, by=admission(head=head)) == ignored("gossip.perhaps_stranger")


@pytest.mark.parametrize("epochs", [(), (4,), (6,)])
def test_judge__signer_unknown_and_our_table_missing__is_ignored(epochs):
    by = admission(epochs=epochs, rows=[row(ALICE, 1)])
    assert judged(bulletin(), CAROL.peer_id, by=by) == ignored("gossip.perhaps_stranger")


@pytest.mark.parametrize("epoch", [4, 5, 6])
def test_judge__signer_in_one_table_only__is_no_stranger(epoch):
    book = StakeBook(PARAMS)
    for known in (4, 5, 6):
        book.add(view(known, trio() if known == epoch else [row(ALICE, 1)]))
    book.head_seen(NOW)
    verdict, rule = judged(bulletin(), by=Admission("test", PARAMS, book, DOMAIN))
    assert verdict is not Verdict.REJECT
    assert rule == ("gossip.accepted" if epoch == EPOCH else "gossip.root")


@pytest.mark.parametrize("peer", ["", "12D3KooWJ8XJzHqJ4RgkB8nYcGbJvNJr5w7t5kLzZ8F7M2xq9xQv", "1" * 53])
def test_judge__signer_with_a_key_no_staker_can_have__is_rejected(peer):
    assert judged(bulletin(), PeerId(peer)) == rejected("identity.peer_id")


def test_judge__speaks_for_another_coordinator__is_rejected():
    rows = [*trio(), coordinator(DAVE, 4)]
    by = admission(rows=rows)
    assert judged(bulletin(root=view(EPOCH, rows).table.root), DAVE.peer_id, by=by) == rejected("gossip.coordinator")


def test_judge__miner_that_offers__is_rejected():
    assert judged(bulletin(coordinator=1), ALICE.peer_id) == rejected("gossip.not_coordinator")


def test_judge__inactive_coordinator__is_ignored():
    rows = [row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3, active=False)]
    data = bulletin(root=view(EPOCH, rows).table.root)
    assert judged(data, by=admission(rows=rows)) == ignored("gossip.inactive")


def test_judge__coordinator_jailed_since_the_table__is_ignored_until_it_is_free():
    by = admission()
    by._book.inactive_now(frozenset({StakingId(3)}))
    assert judged(bulletin(), by=by) == ignored("gossip.inactive")
    by._book.inactive_now(frozenset())
    assert judged(bulletin(), by=by) == ACCEPTED


def test_judge__key_rotated_since__is_ignored_in_the_epoch_of_the_other_key():
    book = StakeBook(PARAMS)
    rotated = view(EPOCH, [row(ALICE, 1), row(BOB, 2), coordinator(DAVE, 3)])
    book.add(view(4))
    book.add(rotated)
    book.head_seen(NOW)
    by = Admission("test", PARAMS, book, DOMAIN)
    assert judged(bulletin(root=rotated.table.root), CAROL.peer_id, by=by) == ignored("gossip.inactive")
    assert judged(bulletin(root=rotated.table.root), DAVE.peer_id, by=by) == ACCEPTED


@pytest.mark.parametrize("epoch", [0, 3, 4, 6, 7])
def test_judge__epoch_far_from_its_boundary__is_ignored(epoch):
    assert judged(bulletin(epoch=epoch)) == ignored("gossip.epoch")


@pytest.mark.parametrize(("epoch", "offset_s"), [(4, 5), (6, 55)])
def test_judge__neighbouring_epoch_near_its_boundary__is_accepted(epoch, offset_s):
    now = UnixMillis(epoch_start(Epoch(EPOCH), PARAMS) + offset_s * 1000)
    assert judged(bulletin(epoch=epoch, sent_at=now), now=now) == ACCEPTED


def test_judge__table_of_the_epoch_missing__is_ignored():
    assert judged(bulletin(), by=admission(epochs=(4, 6))) == ignored("gossip.no_table")


def test_judge__other_root__is_ignored():
    assert judged(bulletin(root=bytes(32))) == ignored("gossip.root")


@pytest.mark.parametrize(
    ("field", "rule"), [(b"", "field.length"), (b"\x0f\x00", "field.length"), (b"\x1f", "field.padding")]
)
def test_judge__field_that_fits_no_table_of_that_root__is_rejected(field, rule):
    assert judged(bulletin(field=field)) == rejected(rule)


@pytest.mark.parametrize("skew", [-10_001, 10_001])
def test_judge__sent_long_ago_or_ahead__is_ignored(skew):
    assert judged(bulletin(sent_at=NOW + skew)) == ignored("gossip.stale")


@pytest.mark.parametrize("skew", [-10_000, 10_000])
def test_judge__sent_within_the_tolerance__is_accepted(skew):
    assert judged(bulletin(sent_at=NOW + skew)) == ACCEPTED


def test_judge__same_bytes_again__is_a_duplicate_as_long_as_it_could_be_replayed():
    by = admission()
    data = bulletin(sent_at=NOW + 10_000)
    assert judged(data, by=by) == ACCEPTED
    assert judged(data, by=by, now=UnixMillis(NOW + 19_000)) == ignored("gossip.duplicate")


def test_judge__faster_than_stake_allows__is_ignored_and_no_duplicate_later():
    by = admission()
    limit = 100 * BURST_S
    many = [
        bulletin(awards=(AwardNotice(task=bytes(30) + bytes(divmod(n, 256)), attempt=0, winner=1),))
        for n in range(limit + 1)
    ]
    answers = [judged(data, by=by) for data in many]
    assert answers == [ACCEPTED] * limit + [ignored("gossip.quota")]
    assert judged(many[-1], by=by, now=UnixMillis(NOW + 10)) == ACCEPTED


def test_judge__more_stake__may_send_more():
    rows = [row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3, stake=100_000_000 * CAI)]
    by = admission(rows=rows)
    root = view(EPOCH, rows).table.root
    answers = [judged(bulletin(root=root, sent_at=NOW + place), by=by)[0] for place in range(900)]
    assert answers.count(Verdict.ACCEPT) == 4 * 100 * BURST_S


def test_judge__replayed_by_another__costs_the_signer_no_quota():
    by = admission()
    first = bulletin()
    judged(first, by=by)
    for _ in range(500):
        assert judged(first, by=by) == ignored("gossip.duplicate")
    assert judged(bulletin(sent_at=NOW + 1), by=by) == ACCEPTED


@given(st.binary(max_size=300), st.text(max_size=60), st.text(max_size=60), st.integers(0, 2**45))
def test_judge__anything__never_raises(data, topic, signer, now):
    assert admission().judge(topic, data, PeerId(signer), UnixMillis(now)).verdict is not Verdict.ACCEPT
