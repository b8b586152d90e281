# pragma version 0.4.3
"""
@title A token that strikes back: whenever it is called, it calls whatever it was told to.
"""

target: address
payload: Bytes[2048]
strikes: public(uint256)
successes: public(uint256)
# Length of what the last struck contract answered: 0 when the lock refused, which gives no reason.
answered: public(uint256)


@external
def arm(target: address, payload: Bytes[2048]):
    self.target = target
    self.payload = payload


@external
def strike():
    self._strike()


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._strike()
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    self._strike()
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    return True


@external
def burn(amount: uint256):
    self._strike()


@internal
def _strike():
    if self.target == empty(address):
        return
    success: bool = False
    answer: Bytes[2048] = b""
    success, answer = raw_call(self.target, self.payload, max_outsize=2048, revert_on_failure=False)
    self.strikes += 1
    self.answered = len(answer)
    if success:
        self.successes += 1
