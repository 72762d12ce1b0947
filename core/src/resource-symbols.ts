/**
 * `Symbol.dispose` and `Symbol.asyncDispose` for platforms that have none yet (Safari in 2025). The first import of
 * `index.ts`: classes name their methods by them as soon as they are loaded, and compiled `using` looks for them.
 */

/** Defines what is missing, as the platform would. */
export function defineResourceSymbols(target: object): void {
  for (const name of ['dispose', 'asyncDispose'])
    if (!(name in target)) Object.defineProperty(target, name, { value: Symbol(`Symbol.${name}`) })
}

defineResourceSymbols(Symbol)
