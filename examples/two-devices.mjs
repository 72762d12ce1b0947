/**
 * Two devices and a server in one process: the smallest whole use of Heddle. Run it with
 * `node examples/two-devices.mjs` after `npm run build`; it keeps its folders in a temporary place and removes them.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDevice, serve } from 'heddle'

const folder = await mkdtemp(join(tmpdir(), 'heddle-example-'))
// In real life servers run elsewhere (`heddle serve`), three or more of them, by people who need not be trusted.
const server = await serve({ path: join(folder, 'server'), listen: ['ws://127.0.0.1:0'] })

const laptop = await openDevice({ path: join(folder, 'laptop') })
const letter = await laptop.create({ servers: server.tickets })
letter.native.getText('text').insert(0, 'Dear all,')
const link = await letter.invite({ role: 'editor', expiresInMs: 60_000 })

const phone = await openDevice({ path: join(folder, 'phone') })
const copy = await phone.join(link)
const text = copy.native.getText('text')
if (text.length === 0) await new Promise((resolve) => text.observe(resolve))
text.insert(text.length, ' see you on Sunday.')
await copy.settled('safe')
console.log(text.toString())

for (const opened of [phone, laptop, server]) await opened[Symbol.asyncDispose]()
await rm(folder, { recursive: true })
