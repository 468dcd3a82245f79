// Save and load of the device's state as the session sees it: one transfer at a time, while all rings are stopped; its outcome
// is what CHECK_DEVICE_STATE asks for.

import type { Infer } from '@ovfs/cstruct'
import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import type { DeviceState } from './payloads.ts'
import { StateReceiver, StateSender } from './state-transfer.ts'

const DIRECTION_SAVE = 0
const DIRECTION_LOAD = 1
const PHASE_STOPPED = 0

export class StateTransfers {
  readonly #device: VhostUserDevice
  readonly #report: (error: VhostUserError) => void
  #transfer: { cancel(): void } | undefined
  /** Never rejects; undefined before the first transfer. */
  #outcome: Promise<boolean> | undefined
  #generation = 0

  constructor(device: VhostUserDevice, report: (error: VhostUserError) => void) {
    this.#device = device
    this.#report = report
  }

  /** SET_DEVICE_STATE_FD: takes the descriptor over and begins. Throws if that is not possible. */
  begin({ direction, phase }: Infer<typeof DeviceState>, fd: () => number): void {
    if (phase !== PHASE_STOPPED || (direction !== DIRECTION_SAVE && direction !== DIRECTION_LOAD)) {
      throw new VhostUserError('BAD_PAYLOAD', `device state: direction ${direction}, phase ${phase}`)
    }
    this.cancel()
    const generation = this.#generation
    const work = direction === DIRECTION_SAVE ? this.#save(fd(), generation) : this.#load(fd())
    this.#outcome = work.then(
      () => true,
      cause => {
        // What was given up on purpose is nobody's trouble.
        if (generation !== this.#generation) return false
        this.#report(new VhostUserError('DEVICE', 'the device state was not transferred', { cause }))
        return false
      },
    )
  }

  /** CHECK_DEVICE_STATE: whether the last transfer succeeded, once it has ended. */
  check(): Promise<boolean> {
    return this.#outcome ?? Promise.resolve(false)
  }

  /** A new session, or none. */
  cancel(): void {
    this.#generation++
    this.#transfer?.cancel()
    this.#transfer = undefined
    this.#outcome = undefined
  }

  async #save(fd: number, generation: number): Promise<void> {
    // Made first, so that a descriptor that cannot be used is found and closed at once.
    const sender = new StateSender(fd)
    this.#transfer = sender
    try {
      const state = await this.#device.saveState!()
      if (generation === this.#generation) sender.send(state)
    } catch (error) {
      sender.cancel()
      throw error
    }
    await sender.done
  }

  async #load(fd: number): Promise<void> {
    const receiver = new StateReceiver(fd)
    this.#transfer = receiver
    await this.#device.loadState?.(await receiver.done)
  }
}
