/** The page that runs the conformance suite, one check at a time. */
import { storageSuite } from '@heddle/conformance'
import { systemContext } from '@heddle/core'
import indexedDbStorage from '@heddle/storage-indexeddb'

const checks = storageSuite({
  manifest: indexedDbStorage.manifest,
  open: (place) => indexedDbStorage.create({ name: place }, systemContext())
})

const remote = {
  async run(id: string): Promise<void> {
    const check = checks.find((one) => one.id === id)
    if (check === undefined) throw new Error(`there is no check ${id}`)
    await check.run()
  }
}
export type SuitePage = typeof remote
Object.assign(globalThis, { remote })
