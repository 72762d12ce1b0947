/** The waiting room between the socket and whoever is attached. */
import { describe, expect, it } from 'vitest'
import { Inbox, type SocketHandlers } from '../src/socket/socket.js'

function recorder(): { readonly events: string[]; readonly handlers: SocketHandlers } {
  const events: string[] = []
  return {
    events,
    handlers: {
      message: (bytes) => void events.push(`message ${bytes[0]}`),
      drained: () => void events.push('drained'),
      closed: ({ code }) => void events.push(`closed ${code}`)
    }
  }
}

describe('messages that come while nobody is attached', () => {
  it('wait, and are delivered in order, the end last', () => {
    const inbox = new Inbox(() => {})
    const { events, handlers } = recorder()
    inbox.message(Uint8Array.of(1))
    inbox.message(Uint8Array.of(2))
    inbox.end({ code: 1000, reason: '' })
    inbox.message(Uint8Array.of(3))
    inbox.attach(handlers)
    expect(events).toEqual(['message 1', 'message 2', 'closed 1000'])
  })

  it('are left for the next one when the first detaches after one message', () => {
    const inbox = new Inbox(() => {})
    const { events, handlers } = recorder()
    inbox.message(Uint8Array.of(1))
    inbox.message(Uint8Array.of(2))
    inbox.attach({
      ...handlers,
      message: (bytes) => {
        handlers.message(bytes)
        inbox.attach(undefined)
      }
    })
    expect(events).toEqual(['message 1'])
    inbox.attach(handlers)
    expect(events).toEqual(['message 1', 'message 2'])
  })

  it('are bounded: above 4 MiB the socket is given up', () => {
    let overflows = 0
    const inbox = new Inbox(() => overflows++)
    for (let i = 0; i < 16; i++) inbox.message(new Uint8Array(256 * 1024))
    expect(overflows).toBe(0)
    inbox.message(new Uint8Array(1))
    expect(overflows).toBe(1)
  })
})
