declare module 's3rver' {
  export default class S3rver {
    constructor(options: {
      address: string
      port: number
      silent: boolean
      directory: string
      resetOnClose?: boolean
      configureBuckets: { name: string }[]
    })
    readonly httpServer: import('node:http').Server
    run(): Promise<{ address: string; port: number }>
    close(): Promise<void>
  }
}

declare module 's3rver/lib/stores/filesystem.js' {
  export default class FilesystemStore {}
}
