/** A client without manners: raw TCP and raw WebSockets for what a well-behaved one would never send. */
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'

/** A WebSocket that has been upgraded and has not said a word. */
export async function rawWebSocket(address: string, protocol = 'heddle.1'): Promise<WebSocket> {
  const ws = new WebSocket(address, [protocol], { perMessageDeflate: false })
  ws.on('error', () => {})
  await new Promise((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', reject)
  })
  return ws
}

/** Resolves with the close code the server gave. */
export function closeCode(ws: WebSocket): Promise<number> {
  return new Promise((resolve) => ws.once('close', (code) => resolve(code)))
}

export async function rawTcp(address: string): Promise<Socket> {
  const { port, hostname } = new URL(address)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}

/** Everything the server sends until it closes. */
export async function answerOf(socket: Socket): Promise<string> {
  let answer = ''
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    answer += text
  })
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}
