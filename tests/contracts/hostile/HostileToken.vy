# pragma version 0.4.3
"""
@title HostileToken
@notice Calls back into whatever it is told to while it is transferred, or claims that a transfer failed. For tests.
"""

target: public(address)
data: public(Bytes[2048])
# Calls back that were tried, and those of them that went through.
tried: public(uint256)
entered: public(uint256)
refusing: public(bool)
# The words that the last call back was refused with, as they came.
refusal: public(Bytes[256])


@external
def arm(target: address, data: Bytes[2048]):
    self.target = target
    self.data = data


@external
def refuse(refusing: bool):
    self.refusing = refusing


@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._strike()


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    return self._strike()


@external
def approve(spender: address, amount: uint256) -> bool:
    return True


@external
def burn(amount: uint256):
    self._strike()


@internal
def _strike() -> bool:
    if self.target != empty(address):
        self.tried += 1
        success: bool = False
        answer: Bytes[256] = b""
        success, answer = raw_call(self.target, self.data, max_outsize=256, revert_on_failure=False)
        self.refusal = answer
        if success:
            self.entered += 1
    return not self.refusing
