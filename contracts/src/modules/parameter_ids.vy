# pragma version 0.4.3
"""
@title Parameter ids
@notice The numbers by which contracts and people name the parameters. The list is closed: see Parameters.vy.
"""

# Wei of CAI that is emitted a second, to all active nodes together.
EMISSION_RATE: constant(uint256) = 1
# Highest commission that an operator may choose, in basis points.
COMMISSION_MAXIMUM: constant(uint256) = 2
# Share of a node's stake that a proven contradiction costs, in basis points.
PROVEN_SLASH: constant(uint256) = 3
# Share of a node's stake that a lost dispute costs, in basis points.
QUORUM_SLASH: constant(uint256) = 4
# Share of a slash that its reporter gets, in basis points; the rest burns.
BOUNTY: constant(uint256) = 5
# Seconds that a slashed node is jailed.
JAIL_TIME: constant(uint256) = 6
# Wei of CAI that a reporter deposits to open a dispute.
DISPUTE_BOND: constant(uint256) = 7
# Seats of the first round of a dispute.
JURORS: constant(uint256) = 8
# Wei of CAI that the accused deposits to appeal.
APPEAL_BOND: constant(uint256) = 9
# Seconds in which jurors may send their verdicts.
VERDICT_WINDOW: constant(uint256) = 10
# Seconds in which the accused may appeal.
APPEAL_WINDOW: constant(uint256) = 11
# Share of the total stake that disputes may slash in one day, in basis points.
QUORUM_CAP: constant(uint256) = 12
# How many there are; ids run from 1 to this number.
COUNT: constant(uint256) = 12
