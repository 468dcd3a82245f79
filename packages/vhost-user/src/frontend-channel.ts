// The socket on which a back-end asks its front-end, as the front-end sees it: each request is checked against its row and
// answered. What the caller has no handler for is refused.

import { Connection, type Message } from './connection.ts'
import { VhostUserError } from './errors.ts'
import {
  type AnyRequestRow,
  BACKEND_REQUESTS,
  type BackendRequest,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FLAG_VERSION,
} from './messages.ts'
import { u64Payload } from './payloads.ts'

export interface ChannelHandlers {
  /** CONFIG_CHANGE_MSG: the device's configuration space is not what it was. A failure is told to the back-end. */
  configChanged?(): void | Promise<void>
}

const NAMES = new Map(
  Object.entries(BACKEND_REQUESTS).map(([name, { id }]) => [id as number, name as BackendRequest]),
)
const REPLY_FLAGS = FLAG_VERSION | FLAG_REPLY
const SUCCESS = u64Payload.encode(0n)
const FAILURE = u64Payload.encode(1n)

/** Serves the socket, which it owns, until either side closes it. `ended` hears of a back-end that breaks the rules. */
export function serveChannel(
  fd: number,
  handlers: ChannelHandlers,
  ended: (error: unknown) => void,
): Connection {
  const act = async (name: BackendRequest | undefined): Promise<void> => {
    if (name !== 'CONFIG_CHANGE_MSG' || !handlers.configChanged) {
      throw new VhostUserError('UNSUPPORTED_REQUEST', `${name ?? 'the request'} is not supported`)
    }
    await handlers.configChanged()
  }
  const receive = async ({ request, flags, payload, fds }: Message): Promise<void> => {
    const name = NAMES.get(request)
    if ((flags & FLAG_REPLY) !== 0)
      throw new VhostUserError('BAD_HEADER', `request ${request} comes as a reply`)
    if (name) requireRow(name, payload, fds.count)
    const result = await act(name).then(
      () => SUCCESS,
      () => FAILURE,
    )
    if ((flags & FLAG_NEED_REPLY) !== 0 && !connection.closed) connection.send(request, REPLY_FLAGS, result)
  }
  const connection = new Connection(fd, { readsWhileSending: false, message: receive, ended })
  return connection
}

function requireRow(name: BackendRequest, payload: DataView, fdCount: number): void {
  const row: AnyRequestRow = BACKEND_REQUESTS[name]
  const [min, max] = row.fds.count(row.payload.decode(payload))
  if (fdCount < min || fdCount > max) {
    throw new VhostUserError('BAD_DESCRIPTORS', `${name}: ${fdCount} descriptors`)
  }
}
