// The other end of index.cjs: OpenDAL itself, in a process that can load it. With an argument, [scheme, config] as
// JSON, it prints what the storage can do and ends.

import {
  Operator,
  RetryLayer,
  TimeoutLayer,
} from '../../../../../packages/opendal-fs/dist/storage/binding.js'

const layers = { RetryLayer, TimeoutLayer }

const failure = ({ message, code }) => ({ message, code })

/** The values behind the getters of a native object. */
function fields(object) {
  const getters = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(object)))
  return Object.fromEntries(getters.filter(([, { get }]) => get).map(([name]) => [name, object[name]]))
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain)
  if (value?.constructor?.name === 'Metadata') {
    return {
      is: 'metadata',
      fields: fields(value),
      isFile: value.isFile(),
      isDirectory: value.isDirectory(),
    }
  }
  if (value?.constructor?.name === 'Entry')
    return { is: 'entry', path: value.path(), metadata: plain(value.metadata()) }
  return value
}

function builtLayer({ is, members }) {
  return Object.assign(new layers[is](), members).build()
}

if (process.argv[2] !== undefined) {
  let answer
  try {
    answer = { capability: fields(new Operator(...JSON.parse(process.argv[2])).capability()) }
  } catch (error) {
    answer = { error: failure(error) }
  }
  console.log(JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? `bigint ${value}` : value)))
} else {
  const root = { operator: (scheme, config) => new Operator(scheme, config) }
  const objects = new Map([[0, root]])
  process.on('message', async ({ call, object, method, args, makes }) => {
    try {
      const receiver = objects.get(object)
      const made = receiver[method](...(method === 'layer' ? args.map(builtLayer) : args))
      // What is made at once must be there for the next message.
      const value = made instanceof Promise ? await made : made
      if (makes === undefined) process.send({ call, value: plain(value) })
      else {
        objects.set(makes, value)
        process.send({ call })
      }
    } catch (error) {
      process.send({ call, error: failure(error) })
    }
  })
  process.on('disconnect', () => process.exit())
}
