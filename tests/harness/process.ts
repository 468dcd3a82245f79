// Child processes of a test: none outlives it. Children are killed when this process exits, whatever the reason that
// Node can see.

import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'

const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Ties the child's life to this process. */
export function ownProcess<T extends ChildProcess>(child: T): T {
  children.add(child)
  child.once('close', () => children.delete(child))
  child.once('error', () => children.delete(child))
  return child
}

/** Resolves when the child has ended and its output has been read; rejects if it could not be started. */
export function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', reject)
  })
}

/** A child that ended before it was ready; `said` is all that it printed. */
export class EndedEarly extends Error {
  override name = 'EndedEarly'
  readonly said: string

  constructor(program: string, said: string) {
    super(`${program} ended before it was ready:\n${said}`)
    this.said = said.trim()
  }
}

/** Waits until the child has printed something that matches; rejects with EndedEarly. */
export function printed(child: ChildProcess, stream: Readable, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const found = pattern.exec(text)
      if (found !== null) resolve(found)
    })
    child.once('error', reject)
    child.once('close', () => reject(new EndedEarly(child.spawnargs.slice(0, 3).join(' '), text)))
  })
}
