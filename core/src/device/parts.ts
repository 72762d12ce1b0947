/**
 * The parts of an open document, put together: which there are, and what each of them tells the others. They share one
 * `Room`; `document.ts` drives them, turn by turn.
 */

import type { HeddleError } from '../errors.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { Standings } from '../sync/index.js'
import type { Head, Role } from '../wire/index.js'
import { BranchBeginning } from './branch-begin.js'
import { BranchFollowing } from './branch-follow.js'
import { Chains } from './chains.js'
import { Changes } from './changes.js'
import { Expiry } from './expiry.js'
import { Following } from './following.js'
import { HoldBack } from './hold-back.js'
import { Verification } from './identity.js'
import { Incoming } from './incoming.js'
import { Invites } from './invites.js'
import { Leaving } from './leaving.js'
import type { Control } from './opening.js'
import { Outbox } from './outbox.js'
import { Outgoing } from './outgoing.js'
import { Recovery } from './recovery.js'
import { Repair } from './repair.js'
import { closedError, headOf, isClosed, type Room, report } from './room.js'
import { Rotation } from './rotation.js'
import { Silenced } from './silenced.js'
import { StateDuty } from './state-duty.js'
import type { Stored } from './stored.js'

export interface Parts {
  readonly room: Room
  readonly verification: Verification
  readonly expiry: Expiry
  readonly holdBack: HoldBack
  readonly repair: Repair
  readonly recovery: Recovery
  readonly silenced: Silenced
  readonly incoming: Incoming
  readonly outbox: Outbox
  readonly outgoing: Outgoing
  readonly following: Following
  readonly changes: Changes
  readonly invites: Invites
  readonly leaving: Leaving
  readonly branchBeginning: BranchBeginning
  readonly branchFollowing: BranchFollowing
  readonly rotation: Rotation
}

export interface PartsHooks {
  /** Takes on what is done beside the turns; its failure is logged. */
  background(task: Promise<unknown>): void
  /** Resolves when the turns asked for so far have run. */
  turned(): Promise<void>
  /** The storage is older than what this device has sent: nothing may go on, after a restart neither. */
  rolledBack(error: HeddleError): void
  /** The app's word on a member is in. */
  verified(memberId: Uint8Array): void
}

/** The order matters only where one part is given another; what they tell each other, they do later, in turns. */
export function assemble(room: Room, stored: Stored, hooks: PartsHooks): Parts {
  /** What a member's device says beside content. */
  const heard = (control: Control, head: Head, role: Role): void => {
    if (control.$case === 'repairRequest') repair.onRequest(head.member, head, control.value)
    if (control.$case === 'poisonReport') recovery.heard(head.member, control.value)
    if (control.$case === 'leave') leaving.heard(head.member)
    if (control.$case === 'branch') branchFollowing.heard(head.member, control.value, role)
    if (control.$case === 'follow') branchBeginning.answered(head.member, control.value)
  }
  /** An admin has closed the document for a successor. It stays open here, to be read and to be edited for oneself. */
  const closed = (): void => {
    leaving.giveUp(closedError())
    report(room, closedError())
  }
  const verification = new Verification(room, room.verifyMember, (id) => hooks.verified(id))
  const expiry = new Expiry(room, () => following.isLevel)
  const holdBack = new HoldBack(room, {
    isLevel: () => following.isLevel,
    applied: () => incoming.applied,
    nextEpoch: () => incoming.nextEpoch
  })
  const repair = new Repair(room, stored, {
    ask: (value, sealed) => outgoing.queueControl({ $case: 'repairRequest', value }, sealed),
    answer: (due) => outgoing.queueAnswer(due),
    frozen: (member) => incoming.freeze(member),
    passedOver: (member) => silenced.passedOver(member),
    misses: (member) => silenced.isBehind(member) || chains.isBefore(member),
    overdue: (member) => incoming.overdue(member)
  })
  const recovery = new Recovery(room, {
    say: (value) => outgoing.queueControl({ $case: 'poisonReport', value }),
    links: () => following.readyLinks,
    kick: () => changes.kick()
  })
  const chains = new Chains(room, repair, stored.applied)
  const standings = new Standings(stored.standings, stored.names)
  const silenced = new Silenced(room, chains, repair, standings)
  const mayBeLate = stored.stateDuty !== undefined
  const incoming = new Incoming(
    room,
    { chains, silenced, repair, mayBeLate },
    {
      blame: (server, error) => following.blame(server, error),
      control: heard
    }
  )
  const receipted = new Map([...stored.servers].map(([id, { receiptedSeq }]) => [id, receiptedSeq]))
  const outbox = new Outbox(
    room,
    silenced,
    { own: stored.own, receipted },
    {
      durable: () => following.upload(),
      safe: () => {
        changes.kick()
        leaving.check()
      },
      receipted: () => outgoing.receipted()
    }
  )
  const stateDuty = new StateDuty(room, incoming, outbox, stored.stateDuty)
  const outgoing = new Outgoing(room, { outbox, stateDuty, silenced }, stored.unsealed)
  const following = new Following(room, incoming, () => outbox, stored.servers, {
    decided: (slots, link) => {
      changes.learn(slots, link.id)
      if (slots.every(({ slot }) => slot > headOf(room).epoch)) hooks.background(following.slots.catchUp(link))
    },
    caughtUp: async (slots, link) => {
      changes.learn(slots, link.id)
      await hooks.turned()
    },
    vote: (news) => news.value.vote && changes.onVote(news.value.vote),
    mailbox: ({ value: { mailbox, items } }) => {
      invites.arrived(mailbox, items)
      recovery.arrived(mailbox, items)
    },
    rolledBack: (error) => hooks.rolledBack(error),
    ready: (link) => {
      hooks.background(invites.openMailboxes(link))
      recovery.ready(link)
      changes.kick()
      rotation.resume()
    }
  })
  const changes = new Changes(room, stored.intents, stored.pending, stored.decided, {
    links: () => following.links,
    behind: (link, slot) => link.channel && hooks.background(following.slots.teach(link.channel, slot)),
    catchUp: (link) => hooks.background(following.slots.catchUp(link)),
    serversChanged: (before, present) => outbox.serversChanged(before, present),
    stuck: (poison) => recovery.begin(poison),
    followed: (turn) => {
      recovery.moved()
      turn.after(() => hooks.background(following.follow(headOf(room).servers.servers)))
    },
    cameBack: (skipped) => {
      for (const { slot, by, cuts } of skipped) incoming.silence(slot, by, cuts)
      recovery.ended()
    },
    cannotComeBack: (error) => recovery.impossible(error),
    rejoinBasis: () => recovery.basis,
    owesState: () => stateDuty.isOpen,
    admitted: (mailbox) => hooks.background(invites.close(mailbox, following.links)),
    advanced: (turn, owesState) => {
      if (owesState) stateDuty.owe(turn, room.group.epoch)
      const { change, epoch } = room.group.public
      room.alarms.entered(room.group)
      if (change !== undefined) incoming.silence(epoch - 1n, change.committer.memberId, change.cuts)
      incoming.retry()
      recovery.advanced()
      leaving.advanced(turn)
      turn.after(() => {
        if (isClosed(room)) closed()
        rotation.restart()
        hooks.background(following.follow(room.group.public.servers.servers))
        following.retryRefused()
        verification.update()
      })
    }
  })
  const invites = new Invites(room, stored.invites, {
    add: (turn, value) => changes.add(turn, { $case: 'add', value }),
    verify: (joiner) => verification.ofJoiner(joiner),
    refused: (mailbox) => hooks.background(invites.close(mailbox, following.links))
  })
  const leaving = new Leaving(room, changes, outgoing)
  const branchBeginning = new BranchBeginning(room, {
    say: (control) => outgoing.queueControl(control),
    isOnline: () => following.readyLinks.length >= quorum(slotConfigOf(room.group.public))
  })
  const branchFollowing = new BranchFollowing(room, stored.follows, {
    say: (control) => outgoing.queueControl(control)
  })
  const rotation = new Rotation(room, {
    isDecidable: () => changes.isDecidable,
    // Another device may be of the same mind, and one commit is enough.
    rotate: () =>
      hooks.background(changes.request({ $case: 'rotate', value: { sinceEpoch: room.group.epoch, automatic: true } }))
  })
  return {
    room,
    verification,
    expiry,
    holdBack,
    repair,
    recovery,
    silenced,
    incoming,
    outbox,
    outgoing,
    following,
    changes,
    invites,
    leaving,
    branchBeginning,
    branchFollowing,
    rotation
  }
}
