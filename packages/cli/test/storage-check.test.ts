// Real operators against servers of this process: what a person reads when something at the start is wrong.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CliError, oneLine } from '../src/error.ts'
import { processSources } from '../src/secret.ts'
import { openStorage } from '../src/storage-check.ts'
import { parseStorage } from '../src/uri.ts'

let folder: string
let servers: (Server | TcpServer)[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-check-'))
})

afterEach(async () => {
  rmSync(folder, { recursive: true, force: true })
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  servers = []
})

async function listening(server: Server | TcpServer): Promise<number> {
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const http = (listener: RequestListener) => listening(createServer(listener))

/** A port on which nothing listens. */
async function deadPort(): Promise<number> {
  const server = createTcpServer()
  const port = await listening(server)
  await new Promise(resolve => server.close(resolve))
  servers = servers.filter(other => other !== server)
  return port
}

function open(uri: string, { assignments = [] as string[], readOnly = false, timeoutMs = 5000 } = {}) {
  return openStorage(parseStorage(uri, assignments, processSources), readOnly, timeoutMs)
}

async function refusal(opening: Promise<unknown>): Promise<string> {
  const error = await opening.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(CliError)
  return oneLine(error as CliError)
}

const KEYS = ['access_key_id=AKID', 'secret_access_key=hunter2hunter2']
const s3Error = (status: number, code: string): RequestListener => {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/xml' })
    response.end(
      `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said so</Message><Resource>/b</Resource><RequestId>1</RequestId></Error>`,
    )
  }
}

describe('a storage that works', () => {
  it('is opened: memory and a folder', async () => {
    expect((await open('memory://')).capability.list).toBe(true)
    expect((await open(`fs://${folder}`)).capability.rename).toBe(true)
  })

  it('is opened: S3 that lists, with the region that most servers take', async () => {
    const seen: string[] = []
    const port = await http((request, response) => {
      seen.push(request.headers.authorization ?? '')
      response.writeHead(200, { 'content-type': 'application/xml' })
      response.end('<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>')
    })
    await open(`s3://b?endpoint=http://127.0.0.1:${port}&disable_config_load=true`, { assignments: KEYS })
    expect(seen).toHaveLength(1)
    expect(seen[0]).toContain('/us-east-1/s3/')
  })

  it('is opened: a web server that has not the file that was asked for', async () => {
    const port = await http((_, response) => response.writeHead(404).end())
    expect((await open(`http://127.0.0.1:${port}/files`)).capability.write).toBe(false)
  })
})

describe('a folder', () => {
  it('that does not exist is not made', async () => {
    const path = join(folder, 'none')
    expect(await refusal(open(`fs://${path}`))).toBe(`the folder ${path} does not exist: mkdir -p ${path}`)
    expect(existsSync(path)).toBe(false)
  })

  it('that is a file, or below one, is refused', async () => {
    writeFileSync(join(folder, 'file'), '')
    expect(await refusal(open(`fs://${folder}/file`))).toContain('is not a folder')
    expect(await refusal(open(`fs://${folder}/file/below`))).toContain('lies below a file')
  })
})

describe('a Redis server that refuses', () => {
  // The pool would keep its connections.
  const redis = (answer: (asked: string) => string) =>
    listening(createTcpServer(socket => socket.on('data', bytes => socket.end(answer(bytes.toString())))))

  it('a password: what it says is told at once, and not the password', async () => {
    const seen: string[] = []
    const port = await redis(asked => {
      seen.push(asked)
      return '-WRONGPASS invalid username-password pair\r\n'
    })
    const assignments = ['username=u', 'password=sekrit']
    const said = await refusal(open(`redis://127.0.0.1:${port}`, { assignments, timeoutMs: 60_000 }))
    expect(said).toBe(
      'redis does not work: WRONGPASS invalid username-password pair: give username and password',
    )
    expect(seen.join('')).toContain('*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$6\r\nsekrit\r\n')
  })

  it('to serve without a password: what it says is told at once', async () => {
    const port = await redis(() => '-NOAUTH Authentication required.\r\n')
    const said = await refusal(open(`redis://127.0.0.1:${port}`, { timeoutMs: 60_000 }))
    expect(said).toMatch(/^redis does not work: NOAUTH Authentication required\.: give username/)
  })

  it('a database that it does not have: what it says is told at once', async () => {
    const seen: string[] = []
    const port = await redis(asked => {
      seen.push(asked)
      return '-ERR DB index is out of range\r\n'
    })
    const said = await refusal(open(`redis://127.0.0.1:${port}/77`, { timeoutMs: 60_000 }))
    expect(said).toBe('redis does not work: DB index is out of range: see ovfs services redis')
    expect(seen.join('')).toContain('*2\r\n$6\r\nSELECT\r\n$2\r\n77\r\n')
  })
})

describe('a server that refuses', () => {
  it.each([
    [
      403,
      'InvalidAccessKeyId',
      /^s3 does not work: PermissionDenied, InvalidAccessKeyId, said so: give access_key_id/,
    ],
    [403, 'SignatureDoesNotMatch', /PermissionDenied, SignatureDoesNotMatch/],
    [404, 'NoSuchBucket', /NoSuchBucket, said so: create the bucket b first/],
    [301, 'PermanentRedirect', /give region=NAME/],
  ])('S3 with %i %s', async (status, code, message) => {
    const port = await http(s3Error(status, code))
    const line = await refusal(open(`s3://b?endpoint=http://127.0.0.1:${port}`, { assignments: KEYS }))
    expect(line).toMatch(message)
    expect(line).not.toContain('hunter2')
  })

  it.each([
    ['404 for an absent key', 404, 'NoSuchKey'],
    ['403 for an absent key, as AWS does', 403, 'AccessDenied'],
  ])('S3 a listing and nothing else is opened, with one warning: %s', async (_, status, code) => {
    const port = await http((request, response) =>
      request.url?.includes('list-type')
        ? s3Error(403, 'AccessDenied')(request, response)
        : s3Error(status, code)(request, response),
    )
    const uri = `s3://b?endpoint=http://127.0.0.1:${port}&disable_config_load=true`
    const { mayList, warnings } = await open(uri, { assignments: KEYS })
    expect(mayList).toBe(false)
    expect(warnings).toEqual([expect.stringMatching(/^s3 does not let the credentials list: ls shows only/)])
  })

  it('S3 a listing without saying why is not opened', async () => {
    const port = await http((_, response) => response.writeHead(403).end())
    expect(await refusal(open(`s3://b?endpoint=http://127.0.0.1:${port}`, { assignments: KEYS }))).toContain(
      'PermissionDenied',
    )
  })

  it.each(['', '<html><body>401 Unauthorized</body></html>', 'Unauthorized'])(
    'WebDAV with 401 and the page %j',
    async page => {
      const port = await http((_, response) => response.writeHead(401).end(page))
      expect(await refusal(open(`webdav://127.0.0.1:${port}/`))).toMatch(
        /^webdav does not work: .*give username and password/,
      )
    },
  )
})

describe('what is not there is named', () => {
  const answers = (status: number, type: string, body: string) =>
    http((_, response) => response.writeHead(status, { 'content-type': type }).end(body))
  const azure = (code: string) =>
    `<?xml version="1.0"?><Error><Code>${code}</Code><Message>It does not exist.</Message></Error>`
  const account = ['account_name=a', 'account_key=a2V5']

  it('a bucket of GCS', async () => {
    const message = 'The specified bucket does not exist.'
    const errors = [{ message, domain: 'global', reason: 'notFound' }]
    const port = await answers(
      404,
      'application/json',
      JSON.stringify({ error: { code: 404, message, errors } }),
    )
    const line = await refusal(open(`gs://b?allow_anonymous=true&endpoint=http://127.0.0.1:${port}`))
    expect(line).toMatch(
      /^gcs does not work: .*The specified bucket does not exist\.: create the bucket b first/,
    )
    expect(line).not.toMatch(/GcsError|Parts/)
  })

  it('a container of Azure', async () => {
    const port = await answers(404, 'application/xml', azure('ContainerNotFound'))
    const line = await refusal(open(`az://c?endpoint=http://127.0.0.1:${port}`, { assignments: account }))
    expect(line).toMatch(/ContainerNotFound, It does not exist\.: create the container c first/)
  })

  it('a container of Swift', async () => {
    const port = await answers(404, 'text/html', '<html><h1>Not Found</h1></html>')
    const line = await refusal(
      open(`swift://c?endpoint=http://127.0.0.1:${port}`, { assignments: ['token=t'] }),
    )
    expect(line).toBe(
      'swift does not work: NotFound, HTTP status 404: create the container c first, or check its name and the endpoint',
    )
  })
})

describe('anonymous access', () => {
  it('to GCS begins at once, without asking for the metadata of a virtual machine', async () => {
    const port = await http((_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"items":[]}'),
    )
    await open(`gs://b?allow_anonymous=true&endpoint=http://127.0.0.1:${port}`, { timeoutMs: 3000 })
  })

  it('that is refused is not what the advice gives', async () => {
    const port = await http((_, response) =>
      response
        .writeHead(401, { 'content-type': 'application/json' })
        .end('{"error":{"code":401,"message":"no","errors":[]}}'),
    )
    const line = await refusal(open(`gs://b?allow_anonymous=true&endpoint=http://127.0.0.1:${port}`))
    expect(line).toMatch(/anonymous access is refused: give credential_path/)
    expect(line).not.toContain('allow_anonymous=true')
  })
})

describe('an endpoint without a scheme', () => {
  it.each([
    ['s3', 's3://b?endpoint=', KEYS],
    ['gcs', 'gs://b?allow_anonymous=true&endpoint=', []],
    ['azblob', 'az://c?account_name=a&account_key=a2V5&endpoint=', []],
    ['webdav', 'webdav://?endpoint=', []],
  ])('is told: %s', async (name, uri, assignments) => {
    const port = await http((_, response) => response.writeHead(200).end())
    const line = await refusal(open(`${uri}127.0.0.1:${port}`, { assignments }))
    expect(line).toMatch(new RegExp(`^${name} does not work`))
    expect(line).toContain(`endpoint=http://127.0.0.1:${port} or endpoint=https://127.0.0.1:${port}`)
  })
})

describe('a server that is not there', () => {
  it.each([
    ['s3', (port: number) => `s3://b?endpoint=http://127.0.0.1:${port}`, KEYS],
    ['webdav', (port: number) => `webdav://127.0.0.1:${port}/`, []],
    ['redis', (port: number) => `redis://127.0.0.1:${port}`, []],
    ['postgresql', (port: number) => `postgresql://me@127.0.0.1:${port}/d?table=t`, []],
  ])('is named at once: %s', async (name, uri, assignments) => {
    const port = await deadPort()
    const line = await refusal(open(uri(port), { assignments, timeoutMs: 60_000 }))
    expect(line).toMatch(
      new RegExp(`^${name} does not work: nothing listens on 127.0.0.1:${port}: check the endpoint`),
    )
  })

  it('has a name that does not exist', async () => {
    expect(await refusal(open('webdav://no-such-host.invalid/'))).toMatch(/no host named|cannot be resolved/)
  })
})

describe('a server that never answers', () => {
  it.each([
    ['s3', (port: number) => `s3://b?endpoint=http://127.0.0.1:${port}`, KEYS],
    ['redis', (port: number) => `redis://127.0.0.1:${port}`, []],
  ])('is given up at the time limit: %s', async (name, uri, assignments) => {
    const sockets = new Set<{ destroy(): void }>()
    const port = await listening(createTcpServer(socket => sockets.add(socket.on('error', () => {}))))
    const line = await refusal(open(uri(port), { assignments, timeoutMs: 300 }))
    for (const socket of sockets) socket.destroy()
    expect(line).toMatch(
      new RegExp(
        `^${name} does not work: no answer within 0.3 s: check the network and the credentials: give`,
      ),
    )
  })
})

describe('an option', () => {
  it('whose value has the wrong kind is named, without the value', async () => {
    expect(await refusal(open('s3://b?enable_virtual_host_style=maybe'))).toBe(
      's3 cannot take the value of enable_virtual_host_style: give true or false',
    )
    expect(await refusal(open('redis://h?db=x'))).toBe(
      'redis cannot take the value of db: give a whole number',
    )
  })

  it('with an endpoint that is no URL is told as such', async () => {
    expect(await refusal(open('webdav://?endpoint=nonsense%20here'))).toMatch(/check the endpoint/)
  })
})

describe('a service that cannot read', () => {
  it('is not served', async () => {
    expect(await refusal(open('alluxio://127.0.0.1:1/'))).toMatch(/alluxio cannot read/)
  })
})
