// The S3 server of the tests that need one and not a certain one: versitygw, unless OVFS_TEST_S3 names another. Each is a process of
// its own over temporary storage.

import { startMoto } from './moto.ts'
import { startS3rver } from './s3rver.ts'
import { missingForVersitygw, startVersitygw } from './versitygw.ts'

/**
 * Bytes of the longest name between two slashes on which all of these servers replace an object. versitygw replaces one by way of
 * a temporary name that is some 30 bytes longer; beyond 255 bytes it answers 409 ExistingObjectIsDirectory.
 */
export const LONGEST_NAME = 220

export interface S3Server {
  /** What OpenDAL's S3 service needs, under OpenDAL's names. */
  readonly options: {
    readonly bucket: string
    readonly endpoint: string
    readonly region: string
    readonly access_key_id: string
    readonly secret_access_key: string
  }
  stop(): Promise<void>
}

const SERVERS = { versitygw: startVersitygw, moto: startMoto, s3rver: startS3rver } as const

/** Starts the chosen server; s3rver, which npm installs with the workspace, on a machine that has not got versitygw. */
export function startS3(bucket = 'ovfs'): Promise<S3Server> {
  const usual = missingForVersitygw() === undefined ? 'versitygw' : 's3rver'
  const name = process.env.OVFS_TEST_S3 ?? usual
  const start = SERVERS[name as keyof typeof SERVERS]
  if (start === undefined) throw new RangeError(`OVFS_TEST_S3 is one of ${Object.keys(SERVERS)}, not ${name}`)
  return start(bucket)
}
