/** Addresses: what is written is what is read, and anything else is refused with what to write. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatPeerAddress,
  type PeerAddress,
  parseListenAddress,
  parsePeerAddress,
  parseRelay
} from '../src/address.js'

const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'

describe('the address of a peer', () => {
  it('is its key, direct addresses and a relay', () => {
    const address = `iroh://${KEY}?addr=192.0.2.7:8441&addr=[2001:db8::7]:8441&relay=https://relay.example.org/`
    const parsed = parsePeerAddress(address)
    expect(parsed).toMatchObject({
      direct: ['192.0.2.7:8441', '[2001:db8::7]:8441'],
      relay: 'https://relay.example.org/'
    })
    expect(Buffer.from(parsed.id).toString('hex')).toBe(KEY)
    expect(formatPeerAddress(parsed)).toBe(address)
    // As `heddle serve` writes tickets.
    expect(new URL(address).href).toBe(address)
  })

  it('is read as it was written, whatever it is', () => {
    const ipv4 = fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([ip, port]) => `${ip}:${port}`)
    const ipv6 = fc.tuple(fc.ipV6(), fc.integer({ min: 1, max: 65_535 })).map(([ip, port]) => `[${ip}]:${port}`)
    const peers: fc.Arbitrary<PeerAddress> = fc.record({
      id: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      direct: fc.array(fc.oneof(ipv4, ipv6), { minLength: 1, maxLength: 8 }),
      relay: fc.option(
        fc.webUrl().map((url) => parseRelay(url)),
        { nil: undefined }
      )
    })
    fc.assert(
      fc.property(peers, (peer) => {
        const address = formatPeerAddress(peer)
        expect(address.length).toBeLessThanOrEqual(256)
        const parsed = parsePeerAddress(address)
        expect(parsed).toEqual({ ...peer, direct: peer.direct.slice(0, parsed.direct.length) })
        expect(new URL(address).href).toBe(address)
      })
    )
  })

  it.each([
    ['', /not written like one/],
    [`iroh:${KEY}`, /not written like one/],
    ['ws://127.0.0.1:80', /not written like one/],
    [`iroh://me@${KEY}?addr=127.0.0.1:1`, /not written like one/],
    [`iroh://${KEY}/path?addr=127.0.0.1:1`, /not written like one/],
    [`iroh://${KEY}?addr=127.0.0.1:1#x`, /not written like one/],
    ['iroh://127.0.0.1:80', /64 hexadecimal digits/],
    [`iroh://${KEY.toUpperCase()}?addr=127.0.0.1:1`, /64 hexadecimal digits/],
    [`iroh://${KEY}00?addr=127.0.0.1:1`, /64 hexadecimal digits/],
    [`iroh://${KEY}`, /names no way/],
    [`iroh://${KEY}?addr=localhost:80`, /"localhost:80" is no ip:port/],
    [`iroh://${KEY}?addr=127.0.0.1:0`, /no ip:port/],
    [`iroh://${KEY}?addr=127.0.0.1:65536`, /no ip:port/],
    [`iroh://${KEY}?addr=127.0.0.1`, /no ip:port/],
    [`iroh://${KEY}?addr=::1:80`, /no ip:port/],
    [`iroh://${KEY}?addr=[127.0.0.1]:80`, /no ip:port/],
    [`iroh://${KEY}?relay=ftp://relay`, /no relay URL/],
    [`iroh://${KEY}?relay=https://a.example/&relay=https://b.example/`, /two relays/],
    [`iroh://${KEY}?relay=https://user:secret@a.example/`, /no relay URL/],
    [`iroh://${KEY}?addr=127.0.0.1:1&n0=1`, /neither addr nor relay/],
    [`iroh://${KEY}?addr=%`, /not encoded/],
    [`iroh://${KEY}?${Array.from({ length: 9 }, () => 'addr=1.1.1.1:1').join('&')}`, /9 direct addresses/],
    [`iroh://${KEY}?relay=https://${'a'.repeat(250)}`, /too long/]
  ])('is not %s', (address, why) => {
    expect(() => parsePeerAddress(address)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(() => parsePeerAddress(address)).toThrow(why)
  })
})

describe('the address to listen on', () => {
  it.each([
    ['iroh://127.0.0.1:0', { ip: '127.0.0.1', port: 0, id: undefined }],
    ['iroh://[::]:8441', { ip: '::', port: 8441, id: undefined }],
    ['iroh://0.0.0.0:8441/', { ip: '0.0.0.0', port: 8441, id: undefined }],
    [`iroh://${KEY}?addr=127.0.0.1:8441`, { ip: '127.0.0.1', port: 8441, id: expect.any(Uint8Array) }]
  ])('may be %s', (address, parsed) => {
    expect(parseListenAddress(address)).toEqual(parsed)
  })

  it.each([
    ['iroh://localhost:8441', /no ip:port to listen on/],
    ['iroh://127.0.0.1', /no ip:port/],
    ['iroh://127.0.0.1:99999', /no ip:port/],
    ['iroh://127.0.0.1:1?relay=https://a.example', /no ip:port/],
    [`iroh://${KEY}?relay=https://a.example`, /exactly one/],
    [`iroh://${KEY}?addr=127.0.0.1:1&addr=127.0.0.1:2`, /exactly one/]
  ])('is not %s', (address, why) => {
    expect(() => parseListenAddress(address)).toThrow(why)
  })
})
