/** Where the texts of the demo are: in the package when it was installed, in examples/ when it runs in the repository. */
import { existsSync } from 'node:fs'
import { HeddleError } from '@heddle/core'

/** Folder with a slash at its end. Throws CONFIG_INVALID when the package is not whole. */
export function textsFolder(): URL {
  const places = [new URL('../../texts/', import.meta.url), new URL('../../../examples/texts/', import.meta.url)]
  const found = places.find((place) => existsSync(place))
  if (found !== undefined) return found
  throw new HeddleError(
    'CONFIG_INVALID',
    'the texts of the demo are missing from this installation; install heddle again'
  )
}
