// All golden messages, by the name of their operation.

import { GOLDEN_FILES } from './golden-files.ts'
import { GOLDEN_NODES } from './golden-nodes.ts'
import { GOLDEN_RARE } from './golden-rare.ts'
import type { GoldenMessage } from './golden-rows.ts'

export { ATTR, bytesOf, ENTRY, FH, type GoldenMessage } from './golden-rows.ts'

export const GOLDEN: Readonly<Record<string, GoldenMessage>> = {
  ...GOLDEN_NODES,
  ...GOLDEN_FILES,
  ...GOLDEN_RARE,
}
