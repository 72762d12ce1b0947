/**
 * Turns a text into the edits with which a person writes it: bursts of keys, pauses to think, slips of the finger that
 * are noticed a little later and taken back, words that come out differently at first and are mended after a jump back,
 * words too many, sentences written in the wrong order and moved by cut and paste. The edits end in exactly the text,
 * and depend on the seed alone.
 */
import type { Edit } from './edit.js'
import { type Random, seededRandom } from './random.js'

export interface Habits {
  /** Probability that a letter goes wrong. */
  readonly slip: number
  /** Probability that a word is first written differently, or is one too many. */
  readonly draft: number
  /** Probability that two sentences are written in the wrong order. */
  readonly swap: number
}

export const usualHabits: Habits = { slip: 0.025, draft: 0.025, swap: 0.05 }

/** The edits that turn an empty section into `text`, in order. */
export function typeText(text: string, seed: number, habits: Habits = usualHabits): readonly Edit[] {
  const typist = new Typist(seededRandom(seed), habits, vocabularyOf(text))
  const sentences = sentencesOf(text)
  for (let i = 0; i < sentences.length; i++) {
    const sentence = sentences[i] ?? ''
    const following = sentences[i + 1]
    if (following !== undefined && typist.feelsLike(habits.swap)) {
      typist.writeSwapped(sentence, following)
      i++
    } else {
      typist.write(sentence)
    }
    if (typist.feelsLike(0.4)) typist.mendOne()
  }
  while (typist.mendOne());
  return typist.edits
}

/** An edit in a passage that others edit too: where is a share of its length, as nobody knows how long it is by then. */
export interface SharedEdit {
  /** In [0, 1). */
  readonly place: number
  /** A character to insert, or undefined to remove one. */
  readonly insert: string | undefined
  readonly pauseMs: number
}

/** `count` single-character edits of a shared passage: short words go in, single characters go out. */
export function tinker(text: string, seed: number, count: number): readonly SharedEdit[] {
  const random = seededRandom(seed)
  const vocabulary = vocabularyOf(text)
  const edits: SharedEdit[] = []
  while (edits.length < count) {
    const place = random.next()
    const word = random.chance(0.6) ? `${random.pick(vocabulary)} ` : undefined
    // The characters of a word go in at one place, the last first, so that it reads forwards.
    for (const insert of word === undefined ? [undefined, undefined] : Array.from(word).reverse()) {
      if (edits.length < count) edits.push({ place, insert, pauseMs: keyPauseMs(random) })
    }
  }
  return edits
}

/** A place where what stands is not yet what shall stand. */
interface Pending {
  at: number
  readonly draft: string
  readonly word: string
}

class Typist {
  readonly edits: Edit[] = []
  #length = 0
  #pending: Pending[] = []
  readonly #random: Random
  readonly #habits: Habits
  readonly #vocabulary: Vocabulary

  constructor(random: Random, habits: Habits, vocabulary: Vocabulary) {
    this.#random = random
    this.#habits = habits
    this.#vocabulary = vocabulary
  }

  feelsLike(probability: number): boolean {
    return this.#random.chance(probability)
  }

  /** Writes a sentence at the end, some of its words differently at first. */
  write(sentence: string): void {
    for (const token of sentence.match(/\s+|\S+/gu) ?? []) {
      const isWord = /^\p{L}{4,}$/u.test(token)
      if (isWord && this.feelsLike(this.#habits.draft)) {
        const extra = this.feelsLike(0.3)
        const draft = this.#random.pick(this.#vocabulary)
        this.#pending.push({
          at: this.#length,
          draft: extra ? `${draft} ` : draft,
          word: extra ? '' : token
        })
        this.#keys(this.#length, extra ? `${draft} ` : draft)
        if (extra) this.#keys(this.#length, token)
      } else {
        this.#keys(this.#length, token)
      }
    }
    this.#think(500, 2500)
  }

  /** Writes two sentences in the wrong order, then cuts the one that came too early and pastes it behind the other. */
  writeSwapped(first: string, second: string): void {
    const start = this.#length
    this.#keys(start, second)
    this.#keys(this.#length, first)
    this.#think(800, 2000)
    this.#emit(start, second.length, '')
    this.#think(200, 600)
    this.#emit(start + first.length, 0, second)
  }

  /** Jumps back to one of the places that are not right yet. False when there is none. */
  mendOne(): boolean {
    const index = this.#random.below(this.#pending.length)
    const [place] = this.#pending.splice(index, 1)
    if (place === undefined) return false
    this.#think(400, 1200)
    if (this.feelsLike(0.3)) this.#emit(place.at, place.draft.length, '')
    else this.#backspace(place.at, place.draft)
    this.#keys(place.at, place.word)
    return true
  }

  /** Types characters at `at`, with slips. */
  #keys(at: number, text: string): void {
    const characters = Array.from(text)
    let caret = at
    let next = 0
    while (next < characters.length) {
      const right = characters[next] ?? ''
      const wrong = this.feelsLike(this.#habits.slip) ? slipOf(right, this.#random) : undefined
      if (wrong === undefined) {
        this.#key(caret, right)
        caret += right.length
        next++
        continue
      }
      // The slip is noticed a few keys later; everything back to it goes.
      const noticed = characters.slice(next + 1, next + 1 + this.#random.below(4))
      const typed = [wrong, ...noticed].join('')
      let end = caret
      for (const character of [wrong, ...noticed]) {
        this.#key(end, character)
        end += character.length
      }
      this.#think(150, 400)
      this.#backspace(caret, typed)
      this.#key(caret, right)
      caret += right.length
      next++
    }
  }

  #key(at: number, character: string): void {
    this.#emit(at, 0, character, keyPauseMs(this.#random))
  }

  /** Removes what was typed at `at`, from its end, a character at a time. */
  #backspace(at: number, typed: string): void {
    let end = at + typed.length
    for (const character of Array.from(typed).reverse()) {
      end -= character.length
      this.#emit(end, character.length, '', keyPauseMs(this.#random))
    }
  }

  #nextPauseMs = 0

  #think(fromMs: number, toMs: number): void {
    this.#nextPauseMs += fromMs + this.#random.below(toMs - fromMs)
  }

  #emit(at: number, remove: number, insert: string, pauseMs = 0): void {
    this.edits.push({ at, remove, insert, pauseMs: pauseMs + this.#nextPauseMs })
    this.#nextPauseMs = 0
    this.#length += insert.length - remove
    for (const place of this.#pending) if (place.at > at) place.at += insert.length - remove
  }
}

/** Between two keys: mostly a steady burst, sometimes a hesitation. */
function keyPauseMs(random: Random): number {
  return random.chance(0.06) ? 250 + random.below(500) : 50 + random.below(110)
}

const keyboardRows = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm'] as const

/** The key beside the one that was meant, or undefined for what is no letter of the rows. */
function slipOf(character: string, random: Random): string | undefined {
  const lower = character.toLowerCase()
  const row = keyboardRows.find((keys) => keys.includes(lower))
  if (row === undefined || lower.length !== 1) return undefined
  const index = row.indexOf(lower)
  const beside = [row[index - 1], row[index + 1]].filter((key) => key !== undefined)
  const key = beside[random.below(beside.length)]
  return key !== undefined && lower !== character ? key.toUpperCase() : key
}

/** Splits behind each sentence; together they are the text. */
function sentencesOf(text: string): readonly string[] {
  return text.split(/(?<=[.!?][’”)_]*\s+)(?=\S)/u)
}

type Vocabulary = readonly [string, ...string[]]

function vocabularyOf(text: string): Vocabulary {
  const [first, ...others] = text.match(/\p{Ll}{4,9}/gu) ?? []
  return first === undefined ? ['word'] : [first, ...others]
}
