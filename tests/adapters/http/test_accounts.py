"""Who is who, and how often each may submit."""

import pytest

from node.adapters.http.accounts import MAX_BUCKETS, Account, Accounts, is_near, network_of, site_of
from node.adapters.http.errors import ApiError
from node.adapters.http.keys import KeyRing
from node.adapters.http.settings import HttpSettings
from node.apps.app_keys import ApiKey
from protocol.task.account import holders
from tests.adapters.http.conftest import ring_of


class HandTimer:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def caller(number: int) -> Account:
    return Account(scope="", bucket=f"from {number}")


def charged(accounts: Accounts, account: Account) -> int | None:
    """The seconds to wait, or None when the submission may pass."""
    try:
        accounts.charge(account)
    except ApiError as error:
        return error.retry_after_s if error.code == "rate_limited" else -1
    return None


# Rate


def test_charge__after_a_burst__is_let_in_again_at_the_rate():
    timer = HandTimer()
    accounts = Accounts(HttpSettings(requests_per_minute_per_key=6), timer, KeyRing())
    assert [charged(accounts, caller(1)) for _ in range(7)] == [None] * 6 + [10]
    timer.seconds += 9.9
    assert charged(accounts, caller(1)) == 1
    timer.seconds += 0.2
    assert [charged(accounts, caller(1)) for _ in range(2)] == [None, 10]
    timer.seconds += 3600
    assert [charged(accounts, caller(1)) for _ in range(7)] == [None] * 6 + [10], "silence earns no more than a burst"


def test_charge__key_with_a_rate_of_its_own__is_held_to_that_one():
    accounts = Accounts(HttpSettings(requests_per_minute_per_key=6), HandTimer(), KeyRing())
    slow = Account("", "key slow", key=ApiKey("slow", "slow", requests_per_minute=1))
    fast = Account("", "key fast", key=ApiKey("fast", "fast", requests_per_minute=60))
    assert [charged(accounts, slow) for _ in range(2)] == [None, 60]
    assert [charged(accounts, fast) for _ in range(61)] == [None] * 60 + [1]


def test_charge__one_blocked__another_is_not():
    accounts = Accounts(HttpSettings(requests_per_minute_per_key=1), HandTimer(), KeyRing())
    assert [charged(accounts, caller(n)) for n in (1, 1, 2)] == [None, 60, None]


def test_charge__more_callers_than_are_remembered__forgets_the_longest_silent():
    accounts = Accounts(HttpSettings(requests_per_minute_per_key=2), HandTimer(), KeyRing())
    for number in range(MAX_BUCKETS):
        accounts.charge(caller(number))
    accounts.charge(caller(0))
    accounts.charge(caller(MAX_BUCKETS))
    assert len(accounts._buckets) == MAX_BUCKETS
    assert charged(accounts, caller(0)) == 30, "he called again meanwhile, so he is remembered"
    assert caller(1).bucket not in accounts._buckets
    assert caller(2).bucket in accounts._buckets


# Identity


def scope(address: str, authorization: str | None = None) -> str:
    return Accounts(HttpSettings(), HandTimer(), KeyRing()).identify(authorization, address).scope


def test_identify__no_key__is_the_site():
    assert scope("198.51.101.7") != scope("198.51.101.8")
    assert scope("2a00:1:2:3::1") == scope("2a00:1:2:3:ffff::2") != scope("2a00:1:2:4::1")
    assert scope("127.0.0.1") == scope("127.0.0.2") == scope("::1") != scope("198.51.101.7")
    for nothing in ("Bearer ", "Basic eDo=", "Basic !", "Digest eDp5"):
        assert scope("198.51.101.7") == scope("198.51.101.7", nothing)


def test_identify__key__is_the_same_from_everywhere():
    assert scope("198.51.101.7", "Bearer a") == scope("198.51.101.8", "bearer a") != scope("198.51.101.7", "Bearer b")
    assert scope("198.51.101.7", "Bearer a") != scope("198.51.101.7")


def test_identify__password_of_any_user__is_the_key():
    assert scope("198.51.101.7", "Basic eDpr") == scope("198.51.101.8", "basic eTpr") == scope("10.0.0.1", "Bearer k")


def test_identify__key_that_spells_a_site__is_not_that_site():
    for spelt in ("from 198.51.101.7", "198.51.101.7", scope("198.51.101.7")):
        assert scope("198.51.101.9", f"Bearer {spelt}") != scope("198.51.101.7")
    assert not scope("198.51.101.9", "Bearer from 198.51.101.7").startswith("site-")
    assert scope("198.51.101.7").startswith("site-")


def test_identify__whose_use_is_counted__invented_keys_are_one():
    accounts = Accounts(HttpSettings(), HandTimer(), ring_of("known"))
    assert accounts.identify("Bearer known", "198.51.101.7").bucket == "key known"
    assert accounts.identify("Bearer made up", "198.51.101.7").bucket == "from 198.51.101.7"
    assert accounts.identify(None, "198.51.101.7").bucket == "from 198.51.101.7"


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("198.51.101.7", "198.51.101.7"),
        ("::ffff:198.51.101.7", "198.51.101.7"),
        ("2a00:1:2:3:4:5:6:7", "2a00:1:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("", "unknown"),
        ("no address", "unknown"),
    ],
)
def test_site_of__address__is_what_one_caller_cannot_change(address, site):
    assert site_of(address) == site


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2a00:1:2:3:4:5:6:7", "2a00:1:2::/48"),
        ("198.51.101.7", ""),
        ("::ffff:198.51.101.7", ""),
        ("::1", ""),
        ("no address", ""),
    ],
)
def test_network_of__address__is_of_whom_all_sites_may_be(address, network):
    assert network_of(address) == network


def test_identify__sites_of_one_network__have_shares_of_their_own_and_one_together():
    accounts = Accounts(HttpSettings(), HandTimer(), ring_of("known"))

    def share(address: str, authorization: str | None = None) -> list[str]:
        return [name for name, _ in holders(accounts.identify(authorization, address).share)]

    (site, network), (neighbour, same) = share("2a00:1:2:3::1"), share("2a00:1:2:4::1")
    assert (site != neighbour, network) == (True, same)
    assert share("2a00:1:3:3::1")[1] != network
    assert len(share("198.51.101.7")) == len(share("2a00:1:2:3::1", "Bearer known")) == 1


def test_is_near__this_machine_and_private_networks__and_no_other():
    assert all(map(is_near, ["127.0.0.1", "::1", "10.0.0.5", "172.17.0.1", "fd00::1"]))
    assert not any(map(is_near, ["8.8.8.8", "2a00::1", "", "no address"]))
