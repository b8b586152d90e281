"""The section of the settings about quality disputes; see ``node.settings`` for the rules of editing."""

from typing import Annotated, final

from pydantic import Field

from node.config.setting_section import Section


@final
class DisputesSection(Section):
    """What a node does where jurors decide whether a picture is what it claims to be."""

    take_part: bool = True
    """With ``chain.gas_keystore``: bring disputes on in which this node is a party or a juror, draw first juries that
    nobody else draws, and as a miner that is drawn as a juror draw the disputed task again and say what was found.
    Jurors are paid out of the bond."""
    gas_gwei: Annotated[float, Field(ge=0, le=1_000_000)] = 100.0
    """While one gas costs more (gwei), nothing is sent. A draw takes about a million gas, a verdict 140,000."""
    calls_per_day: Annotated[int, Field(ge=0, le=10_000)] = 48
    """Most transactions that are sent for disputes in 24 hours, a quarter of them verdicts alone, and at most a quarter
    for disputes in which this node has no part; a dispute takes about six of all nodes together."""
    apps_have_agreed: bool = False
    """Of a coordinator: all apps that it serves have agreed that prompt and picture may be shown to jurors. Without it
    only tasks can be reported whose app said so (``may_be_disputed``)."""
