"""Keys, addresses, peer ids and EIP-712: the only package that imports a crypto backend."""
