// What is known of one service: how a URI becomes OpenDAL's options, which options it takes, which it must have, and how an
// operator can be made without touching anything, to ask for its capabilities.

/** Where the host and the path of a URI go. */
export type Place =
  /** No host; the path is the root. */
  | { readonly kind: 'root' }
  /** The host is a bucket, container or share; the path is the root. */
  | { readonly kind: 'bucket'; readonly option: string }
  /** The host and port are the server; the path is the root, or begins with a database number if `database` is set. */
  | { readonly kind: 'server'; readonly protocol: string; readonly database?: string }
  /** No host; the path is a file or folder of the host's. */
  | { readonly kind: 'local'; readonly option: string; readonly prefix?: string }
  /** All but the options that OpenDAL knows is the connection string. */
  | { readonly kind: 'connection' }
  /** The host and the first segment of the path are a repository; the rest is the root. */
  | { readonly kind: 'repository'; readonly option: string }

export interface Service {
  /** OpenDAL's name. */
  readonly name: string
  readonly summary: string
  /** What is written may be gone without anybody having removed it. */
  readonly volatile?: true
  readonly place: Place
  /** What to type. */
  readonly form: string
  readonly options: readonly string[]
  readonly required?: readonly string[]
  /** Options to fill in when they are not given; `{name}` stands for another option, without which there is no default. */
  readonly defaults?: Readonly<Record<string, string>>
  /** Options to add for anonymous access, unless one of the credentials is given. */
  readonly anonymous?: {
    readonly unless: readonly string[]
    readonly options: Readonly<Record<string, string>>
  }
  /** An option to add when OpenDAL, having searched the environment, refuses with this message. */
  readonly fallback?: { readonly option: string; readonly value: string; readonly refusal: string }
  /** For SQL databases: the statement that creates the table that the options name. */
  readonly createTable?: (options: Readonly<Record<string, string>>) => string
  /** Where credentials come from. */
  readonly credentials?: string
  /** Options that make an operator without a network connection; `{folder}` stands for a temporary folder. */
  readonly probe: Readonly<Record<string, string>>
}
