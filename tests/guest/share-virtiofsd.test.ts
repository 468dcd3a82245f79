// The guest suite on Debian's C virtiofsd: the reference that shows what is right about Linux.

import { shareSuite } from './share-suite.ts'
import { virtiofsdStorage } from './storage.ts'

shareSuite(virtiofsdStorage)
