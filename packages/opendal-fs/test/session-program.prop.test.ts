// Random programs whose daemon is killed again and again in the middle of a request, and whose session goes on: each request is
// sent again to the next process, and everything must be as if there had been one process and no kill. OVFS_PROGRAM_RUNS and
// OVFS_PROGRAM_SEED are for longer runs, and for others.

import type { FsError, RequestContext } from '@ovfs/fuse-proto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { empty } from './crash-rig.ts'
import { ctx } from './guest.ts'
import { type Service, service } from './services.ts'
import {
  chmod,
  create,
  flush,
  fsync,
  fsyncdir,
  mkdir,
  Program,
  type Request,
  release,
  rename,
  rmdir,
  setxattr,
  symlink,
  truncate,
  unlink,
  write,
} from './session-program.ts'
import { SessionRig } from './session-rig.ts'

const RUNS = Number(process.env.OVFS_PROGRAM_RUNS ?? 60)
const SEED = Number(process.env.OVFS_PROGRAM_SEED ?? 1)
const PATIENCE_MS = 60_000 + RUNS * 1_000
const LONGEST_PROGRAM = 24

/** What happens to a request. */
interface Cut {
  /** Of the storage, of the journal and of the session's log, if `entries`. */
  readonly steps: number
  readonly entries: boolean
  /** Of the take-over, if that is killed too. */
  readonly takeOver: number | undefined
  /** The guest dies too, and another one mounts. */
  readonly guestToo: boolean
}

interface Step {
  readonly request: Request
  readonly cut: Cut | undefined
  readonly after: 'nothing' | 'trim' | 'restart' | 'mount again'
}

const DIRECTORIES = ['d', 'e', 'd/e'] as const
const name = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b') },
  { weight: 1, arbitrary: fc.constantFrom('d/a', 'd/b', 'e/a', 'd/e/a') },
)
const directory = fc.constantFrom(...DIRECTORIES)
const mode = fc.constantFrom(0o644, 0o600, 0o755)
const slot = fc.nat(3)
const size = fc.constantFrom(0, 1, 3, 9000)
const text = fc.constantFrom('x', 'ABC', 'm'.repeat(5000))
const cut: fc.Arbitrary<Cut> = fc.record({
  steps: fc.nat(14),
  entries: fc.boolean(),
  takeOver: fc.option(fc.nat(8), { nil: undefined }),
  guestToo: fc.boolean(),
})

const request: fc.Arbitrary<Request> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(name, mode).map(each => create(...each)) },
  { weight: 3, arbitrary: fc.tuple(directory, mode).map(each => mkdir(...each)) },
  { weight: 2, arbitrary: fc.tuple(name, fc.constantFrom('there', 'to')).map(each => symlink(...each)) },
  { weight: 3, arbitrary: name.map(unlink) },
  { weight: 1, arbitrary: directory.map(rmdir) },
  { weight: 6, arbitrary: fc.tuple(name, name).map(each => rename(...each)) },
  { weight: 2, arbitrary: fc.tuple(directory, directory).map(each => rename(...each)) },
  { weight: 3, arbitrary: fc.tuple(fc.oneof(name, directory), mode).map(each => chmod(...each)) },
  { weight: 2, arbitrary: fc.tuple(name, size).map(each => truncate(...each)) },
  { weight: 1, arbitrary: fc.tuple(fc.oneof(name, directory), text).map(each => setxattr(...each)) },
  { weight: 1, arbitrary: fc.oneof(directory, fc.constant('')).map(fsyncdir) },
  { weight: 5, arbitrary: fc.tuple(slot, size, text).map(each => write(...each)) },
  { weight: 2, arbitrary: slot.map(fsync) },
  { weight: 2, arbitrary: slot.map(flush) },
  { weight: 3, arbitrary: slot.map(release) },
)

const step: fc.Arbitrary<Step> = fc
  .record({
    request,
    cut: fc.option(cut, { freq: 3, nil: undefined }),
    after: fc.oneof(
      { weight: 8, arbitrary: fc.constant('nothing' as const) },
      { weight: 1, arbitrary: fc.constantFrom('trim' as const, 'restart' as const, 'mount again' as const) },
    ),
  })
  .map(step => Object.assign(step, { [fc.toStringMethod]: () => `\n  ${wordsOf(step)}` }))

const steps = fc.array(step, { minLength: 2, maxLength: LONGEST_PROGRAM, size: 'max' })

function wordsOf({ request, cut, after }: Step): string {
  const { steps, entries, takeOver, guestToo } = cut ?? {}
  const killed =
    steps === undefined ? '' : `, killed after ${steps} steps${entries === true ? ' with entries' : ''}`
  const again = takeOver === undefined ? '' : `, the next after ${takeOver}`
  const guest = guestToo === true ? ', with its guest' : ''
  return `${request.words}${killed}${again}${guest}${after === 'nothing' ? '' : `, then ${after}`}`
}

describe.each([
  { scheme: 'memory', writeBack: false },
  { scheme: 'fs', writeBack: false },
  { scheme: 'fs', writeBack: true },
] as const)('on $scheme (write-back: $writeBack)', ({ scheme, writeBack }) => {
  let storage: Service

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())

  /** Runs a program to its end. */
  async function run(all: readonly Step[]): Promise<void> {
    const rig = new SessionRig(scheme, storage.operator, { writeBack })
    try {
      await rig.start()
      const program = new Program(rig.fs)
      let unique = 0
      for (const { request, cut, after } of all) {
        unique += 2
        const numbered = { ...ctx, unique }
        if (request.check(program)) await answered(rig, program, request, cut, numbered)
        if (after === 'trim') program.trim()
        if (after === 'restart') await rig.restart()
        program.goOn(rig.fs)
        if (after === 'mount again') {
          await mountAgain(rig)
          program.forgetAll()
        }
      }
      await program.expectRight()
      await rig.close()
      // Some services refuse to delete a directory in which a killed publication has left something; that is deleted then.
      expect(rig.errors.filter(error => (error as FsError).code !== 'ENOTEMPTY')).toEqual([])
    } finally {
      rig.remove()
      await empty(storage.outside)
    }
  }

  async function mountAgain(rig: SessionRig): Promise<void> {
    await rig.fs.destroy()
    rig.log.begin()
  }

  async function answered(
    rig: SessionRig,
    program: Program,
    request: Request,
    cut: Cut | undefined,
    numbered: RequestContext,
  ): Promise<void> {
    if (cut !== undefined) {
      const frozen = rig.freezeAfter(cut.steps, cut.entries)
      await Promise.race([frozen, request.send(program, numbered)])
      await rig.kill()
      if (cut.takeOver !== undefined) await rig.startAndKill(cut.takeOver)
      await rig.start()
      program.goOn(rig.fs)
    }
    if (cut?.guestToo) {
      await mountAgain(rig)
      return program.choose(request)
    }
    request.done(program, await request.send(program, numbered))
    if (cut !== undefined) await program.expectRight()
  }

  it(
    'a program that outlives its daemons does not notice',
    async () => {
      await fc.assert(fc.asyncProperty(steps, run), {
        numRuns: RUNS,
        seed: SEED,
        interruptAfterTimeLimit: PATIENCE_MS * 0.9,
        markInterruptAsFailure: true,
      })
    },
    PATIENCE_MS,
  )
})
