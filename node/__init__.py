"""The world around the protocol: processes, sockets, disks, chain and devices."""
