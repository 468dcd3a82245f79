// The guest suite on a local folder.

import { shareSuite } from './share-suite.ts'
import { fsStorage } from './storage.ts'

shareSuite(fsStorage)
