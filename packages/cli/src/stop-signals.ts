// The signals that ask for an end: the first one to end well, the second one to end now.

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
export type StopSignal = (typeof SIGNALS)[number]

export interface StopSignals {
  readonly first: Promise<StopSignal>
  readonly second: Promise<StopSignal>
  /** Signals end the process again. */
  release(): void
}

/** Where signals come from: the process. */
export interface SignalEmitter {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown
}

export function catchStopSignals(emitter: SignalEmitter): StopSignals {
  const waiting: ((signal: StopSignal) => void)[] = []
  const first = new Promise<StopSignal>(resolve => waiting.push(resolve))
  const second = new Promise<StopSignal>(resolve => waiting.push(resolve))
  const onSignal = (signal: StopSignal) => waiting.shift()?.(signal)
  for (const signal of SIGNALS) emitter.on(signal, onSignal)
  return {
    first,
    second,
    release: () => {
      for (const signal of SIGNALS) emitter.off(signal, onSignal)
    },
  }
}
