import { createSecretTree, deriveKey, deriveNonce, deriveNext } from 'ts-mls/secretTree.js'
import { describe, expect, test } from 'vitest'
import { testCrypto } from '../testing/world.js'
