/** Work on many things of which each waits, with a bound on how many are begun at a time. */

/** Does `work` for every item, at most `underWayMax` at a time. Throws what fails first, and begins nothing after it. */
export async function eachOf<T>(
  items: Iterable<T>,
  underWayMax: number,
  work: (item: T) => Promise<void>
): Promise<void> {
  const left = items[Symbol.iterator]()
  let hasFailed = false
  const worker = async (): Promise<void> => {
    for (let next = left.next(); next.done !== true && !hasFailed; next = left.next()) {
      try {
        await work(next.value)
      } catch (cause) {
        hasFailed = true
        throw cause
      }
    }
  }
  await Promise.all(Array.from({ length: underWayMax }, worker))
}
