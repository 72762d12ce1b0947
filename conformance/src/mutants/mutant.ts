/** A plugin broken on purpose: it proves that the checks it names are able to fail. */
export interface Mutant<Factory> {
  /** What is wrong with it. */
  readonly name: string
  /** Ids of the checks that must catch it. */
  readonly caughtBy: readonly string[]
  /** Breaks a plugin that is right. */
  readonly mutate: (factory: Factory) => Factory
}
