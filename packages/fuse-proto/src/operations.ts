// The operations table: one row per opcode, from which requests are validated, dispatched, encoded, traced and documented.

import type { OperationName } from './constants.ts'
import { type Operation, operation } from './operation.ts'
import { DEVICE_OPERATIONS } from './operations-devices.ts'
import { DIRECTORY_OPERATIONS } from './operations-directories.ts'
import { FILE_OPERATIONS } from './operations-files.ts'
import { LOCK_OPERATIONS } from './operations-locks.ts'
import { answerEmpty, NODE_OPERATIONS } from './operations-nodes.ts'
import { XATTR_OPERATIONS } from './operations-xattrs.ts'
import { InitIn, InitOut } from './structs.ts'
import { InterruptIn, NotifyRetrieveIn } from './structs-extended.ts'

/** Session and signalling; INIT and DESTROY are served by the FuseServer itself, for they make and end its session. */
const SESSION_OPERATIONS: readonly Operation[] = [
  operation('INIT', {
    node: 'none',
    request: InitIn,
    reply: [InitOut],
    methods: ['init'],
    missing: 'ENOSYS',
    // A guest before minor 23 has room for less than the whole structure and reads what fits.
    answer: (request, reply: InitOut) =>
      request.bytes(InitOut.toBytes(reply).subarray(0, Math.min(InitOut.size, request.replyRoom))),
  }),
  operation('INTERRUPT', {
    node: 'none',
    request: InterruptIn,
    enosys: 'no more interrupts',
    reason: 'no Linux guest sends it over virtio; storage operations have deadlines',
    missing: 'ENOSYS',
  }),
  operation('DESTROY', {
    node: 'none',
    methods: ['destroy'],
    missing: { value: undefined },
    answer: answerEmpty,
  }),
  operation('NOTIFY_REPLY', {
    node: 'node',
    request: NotifyRetrieveIn,
    requestTail: 'data',
    silent: true,
    reason: 'answers the notification RETRIEVE, which no virtio-fs guest takes',
    missing: { value: undefined },
  }),
]

/** All operations in the order of their opcodes. */
export const OPERATIONS: readonly Operation[] = [
  ...NODE_OPERATIONS,
  ...FILE_OPERATIONS,
  ...LOCK_OPERATIONS,
  ...DEVICE_OPERATIONS,
  ...DIRECTORY_OPERATIONS,
  ...XATTR_OPERATIONS,
  ...SESSION_OPERATIONS,
].sort((a, b) => a.opcode - b.opcode)

/** Rows by opcode. */
export const OPERATION_BY_OPCODE: readonly (Operation | undefined)[] = Array.from(
  { length: Math.max(...OPERATIONS.map(row => row.opcode)) + 1 },
  (_, opcode) => OPERATIONS.find(row => row.opcode === opcode),
)

const byName = new Map(OPERATIONS.map(row => [row.name, row]))

export function operationNamed(name: OperationName): Operation {
  return byName.get(name) as Operation
}

/** The name of an opcode, `OPCODE<number>` for one that is not in the table. */
export function opcodeName(opcode: number): string {
  return OPERATION_BY_OPCODE[opcode]?.name ?? `OPCODE${opcode}`
}
