// The guest suite on S3.

import { shareSuite } from './share-suite.ts'
import { s3Storage } from './storage.ts'

shareSuite(s3Storage)
