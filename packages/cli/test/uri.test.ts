import { describe, expect, it } from 'vitest'
import { CliError } from '../src/error.ts'
import { parseStorage } from '../src/uri.ts'

const sources = {
  env: { KEY: 'from-env', EMPTY: '' } as Record<string, string>,
  readFile: (path: string) => {
    if (path === '/etc/key') return 'from-file\n'
    throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
  },
}
const parse = (uri: string, ...assignments: string[]) => parseStorage(uri, assignments, sources)

const UNDERSTOOD: readonly (readonly [string, string, Record<string, string>])[] = [
  ['memory://', 'memory', {}],
  ['memory:///', 'memory', {}],
  ['memory:///some/prefix', 'memory', { root: '/some/prefix' }],
  ['fs:///srv/share', 'fs', { root: '/srv/share' }],
  ['file:///srv/a%20b%23c%3fd', 'fs', { root: '/srv/a b#c?d' }],
  ['FS:///srv', 'fs', { root: '/srv' }],
  ['fs://?root=/srv', 'fs', { root: '/srv' }],
  ['s3://bucket', 's3', { bucket: 'bucket' }],
  ['s3://bucket/', 's3', { bucket: 'bucket' }],
  ['s3://My_Bucket.x/a/b', 's3', { bucket: 'My_Bucket.x', root: '/a/b' }],
  [
    's3://b?endpoint=http://127.0.0.1:9000&region=eu-west-1&secret_access_key=a+b/c%3D',
    's3',
    { bucket: 'b', endpoint: 'http://127.0.0.1:9000', region: 'eu-west-1', secret_access_key: 'a+b/c=' },
  ],
  ['s3://?bucket=b&root=/p', 's3', { bucket: 'b', root: '/p' }],
  ['s3://b/path?root=/query', 's3', { bucket: 'b', root: '/query' }],
  ['gs://bucket/p', 'gcs', { bucket: 'bucket', root: '/p' }],
  [
    'azblob://c/p?account_name=acc',
    'azblob',
    { container: 'c', root: '/p', account_name: 'acc', endpoint: 'https://acc.blob.core.windows.net' },
  ],
  [
    'azblob://c?endpoint=https://h&account_name=acc',
    'azblob',
    { container: 'c', endpoint: 'https://h', account_name: 'acc' },
  ],
  ['webdav://host:8080/dav/x', 'webdav', { endpoint: 'http://host:8080', root: '/dav/x' }],
  ['webdavs://host/dav', 'webdav', { endpoint: 'https://host', root: '/dav' }],
  ['webdav://me@host/', 'webdav', { endpoint: 'http://host', username: 'me' }],
  ['http://host/files', 'http', { endpoint: 'http://host', root: '/files' }],
  ['https://[::1]:8443/', 'http', { endpoint: 'https://[::1]:8443' }],
  ['redis://', 'redis', { endpoint: 'redis://127.0.0.1:6379' }],
  ['redis://localhost:6379', 'redis', { endpoint: 'redis://localhost:6379' }],
  ['redis://h/2/a/b', 'redis', { endpoint: 'redis://h', db: '2', root: '/a/b' }],
  ['redis://h/app', 'redis', { endpoint: 'redis://h', root: '/app' }],
  ['rediss://h/0', 'redis', { endpoint: 'rediss://h', db: '0' }],
  ['sqlite:///data/a.db?table=t', 'sqlite', { connection_string: 'sqlite:///data/a.db', table: 't' }],
  [
    'sqlite://?connection_string=file:/a.db&table=t',
    'sqlite',
    { connection_string: 'file:/a.db', table: 't' },
  ],
  ['redb:///data/a.redb?table=t', 'redb', { datadir: '/data/a.redb', table: 't' }],
  [
    'postgres://me@h:5433/db?table=t&sslmode=require',
    'postgresql',
    { connection_string: 'postgresql://me@h:5433/db?sslmode=require', table: 't' },
  ],
  [
    'mongodb://h:27017?database=d&collection=c',
    'mongodb',
    { connection_string: 'mongodb://h:27017', database: 'd', collection: 'c' },
  ],
  ['hf://owner/repo/sub/dir', 'hf', { repo_id: 'owner/repo', root: '/sub/dir', repo_type: 'model' }],
  ['mariadb://me@h/d?table=t', 'mysql', { connection_string: 'mysql://me@h/d', table: 't' }],
  [
    'mongodb+srv://h?database=d&collection=c',
    'mongodb',
    { connection_string: 'mongodb+srv://h', database: 'd', collection: 'c' },
  ],
  ['valkeys://h/1', 'redis', { endpoint: 'rediss://h', db: '1' }],
  ['https+dav://h/x', 'webdav', { endpoint: 'https://h', root: '/x' }],
  ['dav+http://h/x', 'webdav', { endpoint: 'http://h', root: '/x' }],
  [
    'az://c/p?account_name=acc',
    'azblob',
    { container: 'c', root: '/p', account_name: 'acc', endpoint: 'https://acc.blob.core.windows.net' },
  ],
  [
    'abfss://files@acc.dfs.core.windows.net/p',
    'azdls',
    { filesystem: 'files', root: '/p', account_name: 'acc', endpoint: 'https://acc.dfs.core.windows.net' },
  ],
  [
    'gs://b?allow_anonymous=true',
    'gcs',
    { bucket: 'b', allow_anonymous: 'true', disable_vm_metadata: 'true' },
  ],
  [
    'gs://b?allow_anonymous=true&credential_path=/c',
    'gcs',
    { bucket: 'b', allow_anonymous: 'true', credential_path: '/c' },
  ],
  [
    'gs://b?allow_anonymous=true&disable_vm_metadata=false',
    'gcs',
    { bucket: 'b', allow_anonymous: 'true', disable_vm_metadata: 'false' },
  ],
  [
    's3://b?allow_anonymous=true',
    's3',
    { bucket: 'b', allow_anonymous: 'true', disable_ec2_metadata: 'true' },
  ],
  ['aliyun_drive://?access_token=x', 'aliyun-drive', { access_token: 'x', drive_type: 'default' }],
  ['ipfs://ipfs.io/ipfs/QmX', 'ipfs', { endpoint: 'https://ipfs.io', root: '/ipfs/QmX' }],
]

describe('a storage URI becomes the options that OpenDAL is given', () => {
  it.each(UNDERSTOOD)('%s', (uri, service, options) => {
    const storage = parse(uri)
    expect([storage.service.name, storage.options]).toEqual([service, options])
  })
})

const REFUSED: readonly (readonly [string, string[], RegExp])[] = [
  ['/srv/share', [], /given as a URI.*fs:\/\//],
  ['./share', [], /given as a URI/],
  ['memory', [], /begins with memory:\/\//],
  ['', [], /given as a URI/],
  ['fs:/srv', [], /does not have the form fs:\/\//],
  ['fs:///a#b', [], /%23/],
  ['fs://srv/share', [], /third slash.*fs:\/\/\/srv\/share/],
  ['fs://', [], /needs the option root/],
  ['fs:///a%zz', [], /percent-encoding/],
  ['fs:///a%00b', [], /NUL/],
  ['s4://bucket', [], /unknown service "s4".*did you mean s3/],
  ['postgre://h', [], /did you mean postgres/],
  ['minio://h:9000/b', [], /unknown service "minio".*s3:\/\/BUCKET\?endpoint=http:\/\/HOST:PORT/],
  ['sftp://h/x', [], /unknown service "sftp".*built without it/],
  ['hdfs://h/x', [], /webhdfs:\/\/HOST:PORT\/PATH/],
  ['completely-different://h', [], /unknown service.*ovfs services/],
  ['s3://', [], /needs the option bucket/],
  ['s3://b?regoin=x', [], /s3 has no option "regoin": did you mean region\?/],
  ['s3://b', ['acess-key-id=x'], /has no option "acess-key-id": did you mean access_key_id\?/],
  ['memory://?zzzzzzzz=1', [], /it takes root/],
  ['s3://b?region', [], /not KEY=VALUE/],
  ['s3://b', ['region'], /-o is not KEY=VALUE/],
  ['s3://b', ['=x'], /-o is not KEY=VALUE/],
  ['s3://b/../c', [], /must not contain/],
  ['s3://b/%2e%2e/c', [], /must not contain/],
  ['s3://user@b', [], /takes no user/],
  ['webdav://', [], /needs the option endpoint/],
  ['azblob://c', [], /needs the option endpoint/],
  ['b2://b?bucket_id=1&application_key_id=2', [], /application_key=env:NAME/],
  ['sqlite:///a.db', [], /needs the option table/],
  ['s3://b', ['secret_access_key=env:MISSING'], /environment variable MISSING is not set/],
  ['s3://b', ['secret_access_key=env:EMPTY'], /environment variable EMPTY is not set/],
  ['s3://b', ['secret_access_key=file:/none'], /cannot read \/none \(ENOENT\)/],
  ['s3://b?secret_access_key=env:KEY', [], /write -o secret_access_key=env:KEY/],
]

describe('a mistake in a storage URI has its own message', () => {
  it.each(REFUSED)('%s %j', (uri, assignments, message) => {
    let caught: unknown
    try {
      parse(uri, ...assignments)
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(CliError)
    const { message: text, hint } = caught as CliError
    expect(`${text}: ${hint}`).toMatch(message)
  })
})

describe('-o options', () => {
  it('win over the URI', () => {
    expect(parse('s3://b/p?region=a', 'region=b', 'root=/q').options).toEqual({
      bucket: 'b',
      region: 'b',
      root: '/q',
    })
  })

  it('read the environment and files, without the last line feed', () => {
    const storage = parse('s3://b', 'access_key_id=env:KEY', 'secret_access_key=file:/etc/key')
    expect(storage.options).toEqual({
      bucket: 'b',
      access_key_id: 'from-env',
      secret_access_key: 'from-file',
    })
    expect(storage.exposed).toEqual([])
    expect([...storage.secrets].sort()).toEqual(['from-env', 'from-file'])
  })

  it('keep an equals sign in the value', () => {
    expect(parse('s3://b', 'region=a=b').options.region).toBe('a=b')
  })
})

describe('the place of a storage', () => {
  it.each([
    ['s3://b/p', 's3://b/p/'],
    ['s3://b/p', 's3a://?bucket=b&root=/p'],
    [
      's3://b?access_key_id=one&secret_access_key=a',
      's3://b?access_key_id=other&secret_access_key=b&region=r',
    ],
    ['webdav://one:secret@h/', 'webdav://other@h'],
    ['postgres://one:secret@h/d?table=t', 'postgresql://h/d?table=t&sslmode=require'],
  ])('is the same for %s and %s', (one, other) => {
    expect(parse(one).place).toBe(parse(other).place)
  })

  it.each([
    ['s3://b/p', 's3://b/q'],
    ['s3://b', 's3://b?endpoint=http://127.0.0.1:9000'],
    ['fs:///a', 'memory:///a'],
    ['redis://h/1', 'redis://h/2'],
    ['postgres://h/d?table=t', 'postgres://h/d?table=u'],
  ])('is another for %s and %s', (one, other) => {
    expect(parse(one).place).not.toBe(parse(other).place)
  })
})

describe('secrets', () => {
  it.each([
    ['s3://b?secret_access_key=hunter22', [], 'secret_access_key'],
    ['s3://b', ['secret_access_key=hunter22'], 'secret_access_key'],
    ['webdav://me:hunter22@h/', [], 'password'],
    ['postgres://me:hunter22@h/d?table=t', [], 'connection_string'],
  ])('are noticed when they stand on the command line: %s %j', (uri, assignments, name) => {
    const storage = parse(uri, ...assignments)
    expect(storage.exposed).toEqual([name])
    expect(storage.secrets.some(secret => secret.includes('hunter22'))).toBe(true)
    expect(storage.display).not.toContain('hunter22')
    expect(storage.place).not.toContain('hunter22')
  })

  it('are not seen in a connection string without a password', () => {
    const storage = parse('postgres://me@h/d?table=t')
    expect([storage.exposed, storage.secrets]).toEqual([[], []])
  })

  it('that come from a file replace one that stood in the URI', () => {
    expect(parse('s3://b?secret_access_key=x', 'secret_access_key=file:/etc/key').exposed).toEqual([])
  })
})
