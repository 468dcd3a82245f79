// What the user of OpendalFs may choose, and what holds otherwise.

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeptFolder, SessionLog } from '@ovfs/fuse-proto'
import type { StateFolder } from './journal/state-folder.ts'
import type { RenewOperator } from './storage/connection.ts'
import type { FoundTraits } from './storage/service-traits.ts'

export interface OpendalFsOptions {
  /** OpenDAL's name of the service that the operator was made for, such as `fs` or `s3`. */
  readonly scheme: string
  /** What `findTraits` has found out about the server. */
  readonly found?: FoundTraits
  /** Owner of everything; default 0. */
  readonly uid?: number
  /** Default 0. */
  readonly gid?: number
  /** Permission bits of files; default 0o644. */
  readonly fileMode?: number
  /** Permission bits of directories; default 0o755. */
  readonly dirMode?: number
  /**
   * Where modes, owners, times, links and extended attributes are kept that the service cannot keep: in a small object beside
   * the files of each directory, or not at all. Changing what is not kept is refused. Default `sidecar`.
   */
  readonly attrs?: 'sidecar' | 'none'
  /**
   * Show modes, owners, times and links that s3fs, gcsfuse and rclone keep in the user metadata of objects. Listings lack it: it
   * takes a request for each file. Default false.
   */
  readonly userMetadata?: boolean
  /** How long attributes may be trusted, in milliseconds: changes made elsewhere show after that. Default 1000. */
  readonly attrTtlMs?: number
  /** How long a name and a listing may be trusted; default 1000. */
  readonly entryTtlMs?: number
  /** How long the absence of a name may be trusted; default 1000. */
  readonly negativeTtlMs?: number
  /**
   * Memory for file data, clean and unpublished together, in bytes; default 256 MiB. Uploads of large files take up to 50 MB
   * each beyond that, four at once.
   */
  readonly cacheBytes?: number
  /** Folder on the host for unpublished data that memory cannot take; default the system's temporary folder. */
  readonly stagingDir?: string
  /**
   * Folder on the host for what a guest wrote to a file that somebody else had changed meanwhile; made when it is needed.
   * Default `ovfs-recovery` in the staging folder.
   */
  readonly recoveryDir?: string
  /** How much of the staging folder may be used, in bytes; a write beyond it fails with ENOSPC. Default 64 GiB. */
  readonly stagingBytes?: number
  /** An open folder for what must survive the process; it stays open until the file system is closed. Default none. */
  readonly state?: StateFolder
  /** Where what a guest holds survives this process; see `OpendalFs.resume`. Default none. */
  readonly session?: SessionKeeping
  /** Close returns once the state folder has the data; the storage gets it a moment later. Needs `state`. Default false. */
  readonly writeBack?: boolean
  /**
   * How long the storage may be silent, in milliseconds; default 30 s. Transfers take longer while it answers other requests.
   */
  readonly timeoutMs?: number
  /** Refuse every change; default false. */
  readonly readOnly?: boolean
  /** The size that the file system claims to have, in bytes; default 1 PiB. */
  readonly capacityBytes?: number
  /**
   * False if the credentials may not list. Then names come from sidecars, and directories that other programs made are not found.
   * Default true.
   */
  readonly mayList?: boolean
  /** Reads the credentials again when the service refuses them. Default none. */
  readonly renewOperator?: RenewOperator
  /** What all files together may hold, in bytes; a write beyond it fails with EDQUOT. Default no limit. */
  readonly maxBytes?: number
  /** How many files and directories there may be; making more fails with EDQUOT. Default no limit. */
  readonly maxFiles?: number
  /** Open files and directories at one time; default 65536. */
  readonly maxHandles?: number
  /** Files and directories that the guest knows at one time; default 4 Mi, some 3 GB of memory. More are ENFILE. */
  readonly maxInodes?: number
  /**
   * Told of every storage operation that failed (a StorageError), apart from objects that are not there, and of what else
   * went wrong while no request was there to answer.
   */
  readonly onError?: (error: Error) => void
  /** Called once for each feature that the server lacks and each right that the credentials lack, with the consequences. */
  readonly onWarning?: (message: string) => void
}

/** A log and memory that outlive the process, both empty or both left by an earlier one. */
export interface SessionKeeping {
  readonly log: SessionLog
  /** Also a folder of the host, for bytes that memory cannot take. */
  readonly folder: KeptFolder & { readonly path: string }
}

export type Settings = Required<Omit<OpendalFsOptions, 'state' | 'session' | 'renewOperator'>> & {
  readonly state: StateFolder | undefined
  readonly session: SessionKeeping | undefined
  readonly renewOperator: RenewOperator | undefined
}

export function settingsOf(options: OpendalFsOptions): Settings {
  return {
    scheme: options.scheme,
    found: options.found ?? {},
    uid: options.uid ?? 0,
    gid: options.gid ?? 0,
    fileMode: (options.fileMode ?? 0o644) & 0o7777,
    dirMode: (options.dirMode ?? 0o755) & 0o7777,
    attrs: options.attrs ?? 'sidecar',
    userMetadata: options.userMetadata ?? false,
    attrTtlMs: Math.trunc(options.attrTtlMs ?? 1000),
    entryTtlMs: Math.trunc(options.entryTtlMs ?? 1000),
    negativeTtlMs: Math.trunc(options.negativeTtlMs ?? 1000),
    cacheBytes: options.cacheBytes ?? 256 << 20,
    stagingDir: options.stagingDir ?? options.session?.folder.path ?? tmpdir(),
    recoveryDir:
      options.recoveryDir ??
      options.state?.recoveryPath ??
      join(options.stagingDir ?? tmpdir(), 'ovfs-recovery'),
    state: options.state,
    session: options.session,
    renewOperator: options.renewOperator,
    mayList: options.mayList ?? true,
    writeBack: options.writeBack ?? false,
    stagingBytes: options.stagingBytes ?? 2 ** 36,
    timeoutMs: options.timeoutMs ?? 30_000,
    readOnly: options.readOnly ?? false,
    capacityBytes: options.capacityBytes ?? 2 ** 50,
    maxBytes: options.maxBytes ?? Number.POSITIVE_INFINITY,
    maxFiles: options.maxFiles ?? Number.POSITIVE_INFINITY,
    maxHandles: options.maxHandles ?? 65_536,
    maxInodes: options.maxInodes ?? 2 ** 22,
    onError: options.onError ?? (() => undefined),
    onWarning: options.onWarning ?? (() => undefined),
  }
}
