import { openDevice, serve } from 'heddle'

// Three servers. Anybody may run one: `npx heddle serve`.
const servers = await Promise.all(
  ['one', 'two', 'three'].map((name) => serve({ path: `/tmp/heddle-readme-eITEn3/${name}`, listen: ['ws://127.0.0.1:0'] }))
)

// Ada makes a document on them. `native` is a Y.Doc: bind it to any editor that speaks yjs.
const ada = await openDevice({ path: '/tmp/heddle-readme-eITEn3/ada' })
const story = await ada.create({ servers: servers.flatMap(({ tickets }) => tickets) })
story.native.getText('text').insert(0, 'Down the Rabbit-Hole')

// Bob follows her invite link. It works once.
const bob = await openDevice({ path: '/tmp/heddle-readme-eITEn3/bob' })
const copy = await bob.join(await story.invite({ role: 'editor' }))
copy.native.getText('text').insert(0, 'Chapter I. ')
await copy.settled('safe') // a majority of servers has it on disk

// What others write just arrives, as changes of the native document.
const text = story.native.getText('text')
while (text.toString() !== 'Chapter I. Down the Rabbit-Hole') {
  await new Promise<void>((resolve) => text.observe(() => resolve()))
}

// Bob is removed: new keys for everyone else, nothing more for him.
const member = story.members().find(({ isSelf }) => !isSelf)
if (member) await story.remove(member.id)
for (const one of [ada, bob, ...servers]) await one[Symbol.asyncDispose]()

export const result = text.toString()
