// The guest suite in an arm64 guest, whose open flags and structures are not those of the daemon's own processor.

import { shareSuite } from '../guest/share-suite.ts'
import { memoryStorage } from '../guest/storage.ts'
import { arm64 } from '../harness/machine.ts'

shareSuite(memoryStorage, arm64)
