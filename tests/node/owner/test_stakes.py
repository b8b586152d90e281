"""What nodes say of themselves is anybody's text, and is shown to people."""

import pytest

from node.owner.plans import profile_text
from node.owner.stakes import read_profile
from protocol.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ('{"name":"My GPU","site":"https://example.org"}', {"name": "My GPU", "site": "https://example.org"}),
        ('{"name":"\\u001b[31mred\\n\\u202eevil"}', {"name": "[31mredevil"}),
        ('{"name":7,"site":["x"]}', {}),
        ("[]", {}),
        ("", {}),
        ("{", {}),
        ("[" * 512, {}),
    ],
)
def test_read_profile__any_text__gives_printable_words_only(text, profile):
    assert read_profile(text) == profile


def test_profile_text__largest__fits_and_is_read_back():
    profile = {"name": "é" * 250}
    assert read_profile(profile_text(profile)) == profile
    assert profile_text({}) == ""
    with pytest.raises(ConfigError, match="the profile has 513 bytes, at most 512: shorten --description"):
        profile_text({"name": "x" * 502})
