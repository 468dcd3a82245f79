// In the place of OpenDAL's native binding, which could not be had for arm64 Linux: every call goes to a process of this machine's
// own architecture, which has the real one (opendal-process.mjs). OVFS_HOST_NODE names the Node that runs it. Only what the
// project uses is here.

const { fork, spawnSync } = require('node:child_process')
const { join } = require('node:path')

const program = join(__dirname, 'opendal-process.mjs')
const hostNode = process.env.OVFS_HOST_NODE

const pending = new Map()
let peer
let lastId = 0

function start() {
  peer = fork(program, [], { execPath: hostNode, execArgv: [], serialization: 'advanced' })
  peer.on('message', ({ call, value, error }) => {
    const { resolve, reject } = pending.get(call)
    pending.delete(call)
    if (pending.size === 0) peer.channel.unref()
    if (error === undefined) resolve(value)
    else reject(Object.assign(new Error(error.message), { code: error.code }))
  })
  peer.unref()
}

/** Calls a method of an object over there; `makes` is the id that the result gets, if it is one that stays there. */
function call(object, method, args, makes) {
  if (peer === undefined) start()
  peer.channel.ref()
  const number = ++lastId
  return new Promise((resolve, reject) => {
    pending.set(number, { resolve, reject })
    peer.send({ call: number, object, method, args, makes })
  })
}

/** What cannot fail, or whose failure the next call on the new object tells. */
function make(object, method, args) {
  const id = ++lastId
  call(object, method, args, id).catch(() => {})
  return id
}

class Remote {
  constructor(id) {
    this.id = id
  }
}

/** Methods whose results come here, and methods whose results stay there as objects of a class of their own. */
function methods(type, names, objects = {}) {
  for (const name of names) {
    type.prototype[name] = function (...args) {
      return call(this.id, name, args).then(revived)
    }
  }
  for (const [name, result] of Object.entries(objects)) {
    type.prototype[name] = async function (...args) {
      const id = ++lastId
      await call(this.id, name, args, id)
      return new result(id)
    }
  }
}

function revived(value) {
  if (Array.isArray(value)) return value.map(revived)
  if (value?.is === 'metadata') {
    return { ...value.fields, isFile: () => value.isFile, isDirectory: () => value.isDirectory }
  }
  if (value?.is === 'entry') return { path: () => value.path, metadata: () => revived(value.metadata) }
  return value
}

class Lister extends Remote {}
methods(Lister, ['next'])

class Writer extends Remote {}
methods(Writer, ['write', 'close'])

class Reader extends Remote {}

/** What `new Operator` and `capability` tell at once is asked of a process of its own, once for each configuration. */
const capabilities = new Map()

function capabilityOf(scheme, config) {
  const key = JSON.stringify([scheme, config])
  if (!capabilities.has(key)) {
    const { stdout, stderr } = spawnSync(hostNode, [program, key], { encoding: 'utf8' })
    if (stdout === '') throw new Error(`the process with OpenDAL failed: ${stderr}`)
    const { capability, error } = JSON.parse(stdout, (_, value) =>
      typeof value === 'string' && value.startsWith('bigint ') ? BigInt(value.slice(7)) : value,
    )
    if (error !== undefined) throw Object.assign(new Error(error.message), { code: error.code })
    capabilities.set(key, capability)
  }
  return capabilities.get(key)
}

class Operator extends Remote {
  #capability

  constructor(scheme, config = {}, made = undefined) {
    const capability = made?.capability ?? capabilityOf(scheme, config)
    super(made?.id ?? make(0, 'operator', [scheme, config]))
    this.#capability = capability
  }

  capability() {
    return this.#capability
  }

  layer(layer) {
    const id = make(this.id, 'layer', [layer])
    return new Operator('', {}, { id, capability: this.#capability })
  }
}
methods(
  Operator,
  ['check', 'exists', 'stat', 'read', 'write', 'createDir', 'delete', 'removeAll', 'rename', 'copy', 'list'],
  { lister: Lister, writer: Writer },
)

/** Its members are set one by one, and go over when it is used. */
const layer = name =>
  class {
    build() {
      return { is: name, members: { ...this } }
    }
  }

module.exports = { Operator, Lister, Reader, Writer }
for (const name of ['TimeoutLayer', 'RetryLayer']) {
  module.exports[name] = layer(name)
}
