/**
 * What the commands that change a group have in common: they wait for a quorum of servers, and say so when that takes
 * long. Called by the files that change members, servers and the policy.
 */
import type { Document } from '@heddle/core'
import type { DocChangeReport } from '../generated/reports.js'
import { type DeviceOptions, refresh, type Surroundings, withDocument } from '../session.js'

/** Makes the change and reports it; `make` returns what there is to say to a person. */
export async function change(
  doc: string,
  options: DeviceOptions,
  surroundings: Surroundings,
  make: (document: Document, signal: AbortSignal) => Promise<string>
): Promise<void> {
  const { terminal, signal } = surroundings
  await withDocument(doc, options, async (document) => {
    await refresh(document, signal)
    const done = await patiently(document, () => make(document, signal), options, surroundings)
    if (options.json) terminal.json<DocChangeReport>({ document: document.id, epoch: document.status().epoch })
    else terminal.note(done)
  })
}

/** Somebody at a terminal learns when a change takes long, and that it need not be waited for. */
export async function patiently<T>(
  document: Document,
  task: () => Promise<T>,
  { json }: DeviceOptions,
  { terminal }: Surroundings
): Promise<T> {
  const waiting = setTimeout(() => {
    if (!json && document.status().blocked)
      terminal.note(
        'Too few servers answer to decide this; waiting. Ctrl-C ends the waiting, the change itself is kept and goes on whenever the document is open.'
      )
  }, 3000)
  try {
    return await task()
  } finally {
    clearTimeout(waiting)
  }
}
