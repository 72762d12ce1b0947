import { expect, it } from 'vitest'
import { defineResourceSymbols } from './resource-symbols.js'

it('defines the symbols that are missing, and leaves those that are there', () => {
  const platform: { dispose?: symbol; asyncDispose?: symbol } = { dispose: Symbol.dispose }
  defineResourceSymbols(platform)
  expect(platform.dispose).toBe(Symbol.dispose)
  expect(typeof platform.asyncDispose).toBe('symbol')
  const { asyncDispose } = platform
  defineResourceSymbols(platform)
  expect(platform.asyncDispose).toBe(asyncDispose)
})
