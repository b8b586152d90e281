// A js-libp2p peer with the key of one number that does what the test writes to it, a JSON line each, and says what
// came of it, a JSON line each. It knows nothing of this project but the names that it is given.
import './polyfill.mjs'
import { createInterface } from 'node:readline'
import { createHash } from 'node:crypto'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { create as multihash } from 'multiformats/hashes/digest'

const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }))
const hex = bytes => Buffer.from(bytes.subarray()).toString('hex')

const node = await createLibp2p({
  privateKey: privateKeyFromRaw(Buffer.from(process.argv[2], 'hex')),
  // The third word is a relay through which it is to be reached, and nowhere else.
  addresses: { listen: [process.argv[4] ? `${process.argv[4]}/p2p-circuit` : '/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    ...(process.argv[3] === 'relay' ? { relay: circuitRelayServer() } : {}),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: true, emitSelf: false }),
    dht: kadDHT({
      protocol: '/ipfs/kad/1.0.0',
      clientMode: process.argv[3] !== 'server',
      peerInfoMapper: info => info, // the default drops loopback addresses
      initialQuerySelfInterval: 200,
      allowQueryWithZeroPeers: true
    })
  }
})

node.services.pubsub.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
  say('heard', { topic: msg.topic, from: msg.from.toString(), signed: msg.type === 'signed', data: hex(msg.data) })
})

async function handle (protocol) {
  await node.handle(protocol, async (stream, connection) => {
    say('opened', { by: connection.remotePeer.toString(), protocol: stream.protocol })
    for await (const data of stream) {
      say('received', { data: hex(data) })
      stream.send(data)
    }
  })
}

async function read (stream, size) {
  let all = Buffer.alloc(0)
  for await (const data of stream) {
    all = Buffer.concat([all, data.subarray()])
    if (all.length >= size) break
  }
  return all
}

const streams = new Map()
const commands = {
  dial: async ({ address }) => ({ peer: (await node.dial(multiaddr(address))).remotePeer.toString() }),
  identify: async ({ address }) => {
    const connection = await node.dial(multiaddr(address))
    const told = await node.services.identify.identify(connection)
    return { protocols: told.protocols, addresses: told.listenAddrs.map(String), agent: told.agentVersion }
  },
  ping: async ({ address }) => ({ ms: await node.services.ping.ping(multiaddr(address)) }),
  subscribe: async ({ topic }) => { node.services.pubsub.subscribe(topic); return {} },
  publish: async ({ topic, data }) => {
    const { recipients } = await node.services.pubsub.publish(topic, Buffer.from(data, 'hex'))
    return { recipients: recipients.length }
  },
  find: async ({ key }) => {
    const cid = CID.createV1(0x55, multihash(0x12, createHash('sha256').update(key).digest()))
    const found = {}
    for await (const provider of node.contentRouting.findProviders(cid, { signal: AbortSignal.timeout(8000) })) {
      found[provider.id.toString()] = provider.multiaddrs.map(String)
    }
    return { found }
  },
  handle: async ({ protocol }) => { await handle(protocol); return {} },
  open: async ({ address, protocol }) => {
    streams.set(protocol, await node.dialProtocol(multiaddr(address), protocol))
    return {}
  },
  send: async ({ protocol, data }) => { streams.get(protocol).send(Buffer.from(data, 'hex')); return {} },
  read: async ({ protocol, size }) => ({ data: hex(await read(streams.get(protocol), size)) }),
  connections: async () => ({ peers: node.getPeers().map(String) })
}

while (node.getMultiaddrs().length === 0) await new Promise(resolve => setTimeout(resolve, 50)) // a relay takes its time
say('listening', { peer: node.peerId.toString(), address: node.getMultiaddrs()[0].toString() })
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...order } = JSON.parse(line)
  try {
    say('done', { command, ...await commands[command](order) })
  } catch (error) {
    say('failed', { command, error: `${error.name}: ${error.message}` })
  }
}
await node.stop()
