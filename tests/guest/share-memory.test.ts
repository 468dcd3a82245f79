// The guest suite on memory, with the daemon embedded in this process.

import { shareSuite } from './share-suite.ts'
import { memoryStorage } from './storage.ts'

shareSuite(memoryStorage)
