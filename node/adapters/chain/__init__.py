"""The staking contract on any EVM chain, over web3 under trio."""
