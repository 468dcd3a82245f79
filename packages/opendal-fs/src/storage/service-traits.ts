// What a service does that OpenDAL's `capability()` does not say: facts that hold for every server of a scheme, and facts that
// one server shows only when it is used. `Storage` owns one instance; every layer above asks it instead of comparing schemes.

/** Facts that hold for every server of a scheme. */
interface SchemeTraits {
  /** Directories exist by themselves, and stat finds one under its key without the slash. */
  readonly realDirectories?: boolean
  /** `rename` moves a directory and everything in it in one step. */
  readonly movesDirectories?: boolean
}

const SCHEMES: Readonly<Record<string, SchemeTraits>> = {
  fs: { realDirectories: true, movesDirectories: true },
  webdav: { realDirectories: true },
}

export class ServiceTraits {
  /** OpenDAL's name of the service. */
  readonly scheme: string
  /** Directories exist by themselves; elsewhere a directory is only a part of longer keys, or a marker object. */
  readonly realDirectories: boolean
  /** `rename` moves a directory and everything in it in one step. */
  readonly movesDirectories: boolean

  constructor(scheme: string) {
    const { realDirectories = false, movesDirectories = false } = SCHEMES[scheme] ?? {}
    this.scheme = scheme
    this.realDirectories = realDirectories
    this.movesDirectories = movesDirectories
  }
}
