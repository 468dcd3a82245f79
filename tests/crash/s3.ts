// A share on an S3 server that outlives the daemons which are killed, as the command line of ovfs has it.

import { startS3 } from '../harness/s3.ts'

export interface S3Share {
  readonly bucket: string
  /** Arguments of ovfs. */
  readonly args: readonly string[]
  /** What ovfs needs from its environment. */
  readonly env: Readonly<Record<string, string>>
  stop(): Promise<void>
}

export async function startS3Share(): Promise<S3Share> {
  const { options, stop } = await startS3()
  const { bucket, endpoint, region, access_key_id, secret_access_key } = options
  return {
    bucket,
    args: ['-o', `endpoint=${endpoint}`, '-o', `region=${region}`],
    env: { AWS_ACCESS_KEY_ID: access_key_id, AWS_SECRET_ACCESS_KEY: secret_access_key },
    stop,
  }
}
