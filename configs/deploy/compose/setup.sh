#!/bin/sh
# Makes the trial network on a bare anvil, by the commands that a real one is made with: contracts, a key for each node,
# stake, escrow. Runs once: what is there already stays. For nothing but the trial: all keys have one password, and one
# account owns everything.
set -eu

NETWORK=${NETWORK:-/network}
NODES=${NODES:-/nodes}
PLAN=${PLAN:-/network.toml}
ENTRY=${ENTRY:-/dns4/bootstrap/tcp/4001}
CHAIN_RPC=${CHAIN_RPC:-http://chain:8545}
PASSWORD=${PASSWORD:-/run/secrets/cuckoo-password}
GAS_PASSWORD=${GAS_PASSWORD:-/run/secrets/cuckoo-gas-password}
OWNER=$NETWORK/owner.json
FILE=$NETWORK/network.toml

field() {
  python -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

new_key() { # file, password file
  test -e "$1" || cuckoo key new --light --keystore "$1" --password-file "$2"
}

shown() { # file, password file, field
  cuckoo key show --keystore "$1" --password-file "$2" --json | field "$3"
}

give_coin() { # address: what pays for gas here comes out of nothing
  python - "$CHAIN_RPC" "$1" <<'PYTHON'
import sys
import httpx
call = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [sys.argv[2], hex(10**21)]}
answer = httpx.post(sys.argv[1], json=call, timeout=10).json()
sys.exit(f"the chain does not give coin: {answer['error']}" if "error" in answer else 0)
PYTHON
}

join() { # role, stake in CAI
  proof=$NETWORK/$1.proof
  cuckoo key prove --owner "$owner" --role "$1" --network "$FILE" --keystore "$NODES/$1/key.json" \
    --password-file "$PASSWORD" >"$proof"
  cuckoo register --proof "$proof" --stake "$2" --name "trial $1" --network "$FILE" --keystore "$OWNER" \
    --password-file "$PASSWORD"
}

if test -e "$NETWORK/done"; then
  cuckoo contracts verify --network "$FILE" >/dev/null || {
    echo 'error: the chain is a new one, and this network was on another: docker compose --profile trial down -v' >&2
    exit 1
  }
  exit 0
fi

umask 077
new_key "$OWNER" "$PASSWORD"
owner=$(shown "$OWNER" "$PASSWORD" address)
for role in bootstrap coordinator miner; do
  new_key "$NODES/$role/key.json" "$PASSWORD"
done
new_key "$NODES/miner/gas.json" "$GAS_PASSWORD"
give_coin "$owner"
give_coin "$(shown "$NODES/miner/gas.json" "$GAS_PASSWORD" address)"

peer=$(shown "$NODES/bootstrap/key.json" "$PASSWORD" peer_id)
{ echo "bootstrap = [\"$ENTRY/p2p/$peer\"]"; cat "$PLAN"; } >"$FILE"
cuckoo contracts deploy --network "$FILE" --keystore "$OWNER" --password-file "$PASSWORD"
join coordinator 2500000
join miner 50000
cuckoo escrow deposit 1 100000 --network "$FILE" --keystore "$OWNER" --password-file "$PASSWORD"
touch "$NETWORK/done"
