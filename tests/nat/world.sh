#!/bin/sh
# An Internet with two homes behind routers, in namespaces of its own: nobody outside sees any of it.
# internet 203.0.113.1 | router-one 203.0.113.2, 192.168.7.1 | one 192.168.7.2
#                      | router-two 203.0.113.3, 192.168.7.1 | two 192.168.7.2
set -eu
mount -t tmpfs none /run
mkdir -p /run/netns
ip netns add internet
ip -n internet link set lo up
ip -n internet link add bridge type bridge
ip -n internet addr add 203.0.113.1/24 dev bridge
ip -n internet addr add 2000:1::1/64 dev bridge nodad
ip -n internet link set bridge up
number=2
for home in one two; do
  router=router-$home
  ip netns add "$router"
  ip netns add "$home"
  ip -n internet link add "$home" type veth peer name wan netns "$router"
  ip -n internet link set "$home" master bridge up
  ip -n "$router" addr add 203.0.113.$number/24 dev wan
  ip -n "$router" addr add 2000:1::$number/64 dev wan nodad
  ip -n "$router" link set wan up
  ip -n "$router" -6 route add default via 2000:1::1
  ip -n "$router" link add lan type veth peer name eth0 netns "$home"
  ip -n "$router" addr add 192.168.7.1/24 dev lan
  ip -n "$router" link set lan up
  ip -n "$home" link set lo up
  ip -n "$home" addr add 192.168.7.2/24 dev eth0
  ip -n "$home" link set eth0 up
  ip -n "$home" route add default via 192.168.7.1
  ip netns exec "$router" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  # As home routers do: translate what goes out, let in only what answers it.
  if command -v nft >/dev/null; then
    ip netns exec "$router" nft -f - <<'RULES'
table ip nat {
  chain out {
    type nat hook postrouting priority 100
    oifname "wan" masquerade
  }
}
table ip filter {
  chain pass {
    type filter hook forward priority 0
    policy drop
    iifname "lan" accept
    ct state established,related accept
  }
}
RULES
  else
    ip netns exec "$router" iptables -t nat -A POSTROUTING -o wan -j MASQUERADE
    ip netns exec "$router" iptables -P FORWARD DROP
    ip netns exec "$router" iptables -A FORWARD -i lan -j ACCEPT
    ip netns exec "$router" iptables -A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT
  fi
  number=$((number + 1))
done
echo ready
exec sleep 600
