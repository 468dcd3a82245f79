// The structures that vhost-user took over from the kernel's vhost, compared with the kernel's headers. The rest of the
// protocol has no header in Debian; its sizes are in messages.test.ts.

import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Iotlb, VringAddr, VringState } from '../src/payloads.ts'
import { temporaryFolder } from './peers.ts'

/** What the program below prints, for machines without a compiler. */
const RECORDED = {
  vhost_vring_state: { size: 8, fields: { index: 0, num: 4 } },
  vhost_vring_addr: {
    size: 40,
    fields: {
      index: 0,
      flags: 4,
      desc_user_addr: 8,
      used_user_addr: 16,
      avail_user_addr: 24,
      log_guest_addr: 32,
    },
  },
  vhost_iotlb_msg: { size: 32, fields: { iova: 0, size: 8, uaddr: 16, perm: 24, type: 25 } },
}

const inOrder = (offsets: Record<string, number>) =>
  Object.entries(offsets)
    .filter(([name]) => name !== 'padding')
    .map(([, offset]) => offset)

test('the tables have the sizes and offsets of <linux/vhost_types.h>', () => {
  for (const table of [VringState, VringAddr, Iotlb]) {
    const { size, fields } = RECORDED[table.cName as keyof typeof RECORDED]
    expect(table.size, table.cName).toBe(size)
    expect(inOrder(table.offsets), table.cName).toEqual(Object.values(fields))
  }
})

const canCompile = existsSync('/usr/include/linux/vhost_types.h') && existsSync('/usr/bin/cc')

test.skipIf(!canCompile)(
  'the recorded layout is what the compiler says (needs cc and linux/vhost_types.h)',
  () => {
    const folder = temporaryFolder()
    const lines = Object.entries(RECORDED).map(([name, { fields }]) => {
      const offsets = Object.keys(fields).map(
        field => `printf("%s:%zu,", "${field}", offsetof(struct ${name}, ${field}));`,
      )
      return `printf("${name} %zu ", sizeof(struct ${name})); ${offsets.join(' ')} printf("\\n");`
    })
    writeFileSync(
      join(folder, 'layout.c'),
      `#include <stdio.h>\n#include <stddef.h>\n#include <linux/vhost_types.h>\nint main(void) { ${lines.join('\n')} return 0; }\n`,
    )
    execFileSync('/usr/bin/cc', ['-o', join(folder, 'layout'), join(folder, 'layout.c')])
    const printed = execFileSync(join(folder, 'layout'), { encoding: 'utf8' })
    const expected = Object.entries(RECORDED).map(([name, { size, fields }]) => {
      const offsets = Object.entries(fields).map(([field, offset]) => `${field}:${offset},`)
      return `${name} ${size} ${offsets.join('')}\n`
    })
    expect(printed).toBe(expected.join(''))
  },
)
