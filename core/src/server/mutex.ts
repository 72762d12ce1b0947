/** Lets one task at a time, in the order they came. One for each document: its state changes in steps. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve()

  /** Runs the task after all earlier ones have settled; settles as it does. */
  run<T>(task: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(task)
    this.#tail = result.then(nothing, nothing)
    return result
  }
}

const nothing = (): void => {}
