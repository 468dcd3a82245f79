// A session that survives its process: the log and the folder of mapped files that it lies in. Both belong to one boot of the
// host, because what is mapped need not be on the disk, and because no guest outlives its host.

import { readFileSync } from 'node:fs'
import { SessionLog } from '@ovfs/fuse-proto'
import { MappedFolder } from '@ovfs/vhost-user'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** What a handler needs to write down what a guest holds, and a `VirtioFs` the rest. */
export interface KeptSession {
  readonly log: SessionLog
  readonly folder: MappedFolder
}

/**
 * Opens the session in the folder, which is made if it is not there; one process at a time may use it. Throws a TypeError if it is
 * damaged, or what the host says.
 * @param share what is served: the session of another one is not gone on with
 * @param onError told if the session does not survive any more, for want of room on the host's disk
 */
export function openKeptSession(path: string, share: string, onError: (error: Error) => void): KeptSession {
  const folder = new MappedFolder(path)
  const identity = `${readFileSync(BOOT_ID, 'utf8').trim()} ${share}`
  return { log: new SessionLog({ folder, identity, onError }), folder }
}
