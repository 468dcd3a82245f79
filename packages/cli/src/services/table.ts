// All services that the pinned OpenDAL binding can have, one row each, and the names by which a URI may call them.
// The options are what the binding's deserializer accepts (test/service-table.test.ts asks it about each one). OpenDAL
// ignores names that it does not know, so a misspelt option would be a silent wrong answer: this table is what stops it.

import { DATABASES } from './databases.ts'
import { DRIVES } from './drives.ts'
import { LOCAL } from './local.ts'
import { OBJECT_STORES } from './object-stores.ts'
import { SERVERS } from './servers.ts'
import type { Service } from './service.ts'
import { words } from './words.ts'

const ROWS = [...LOCAL, ...OBJECT_STORES, ...SERVERS, ...DATABASES, ...DRIVES]

export const SERVICES: ReadonlyMap<string, Service> = new Map(ROWS.map(row => [row.name, row]))

/** Schemes that are not OpenDAL's names: the service that they mean, and its server's protocol where they say it. */
export const SCHEME_ALIASES: ReadonlyMap<string, { readonly service: string; readonly protocol?: string }> =
  new Map([
    ['file', { service: 'fs' }],
    ['s3a', { service: 's3' }],
    ['gs', { service: 'gcs' }],
    ['abfs', { service: 'azdls' }],
    ['webdavs', { service: 'webdav', protocol: 'https' }],
    ['dav', { service: 'webdav', protocol: 'http' }],
    ['davs', { service: 'webdav', protocol: 'https' }],
    ['https', { service: 'http', protocol: 'https' }],
    ['rediss', { service: 'redis', protocol: 'rediss' }],
    ['postgres', { service: 'postgresql' }],
    ['huggingface', { service: 'hf' }],
  ])

/** Options whose values must not be seen. */
export const SECRET_OPTIONS: ReadonlySet<string> = new Set(
  words(
    'secret_access_key session_token security_token access_token refresh_token client_secret account_key sas_token encryption_key application_key secret_key access_key_secret credential token password runtime_token delegation server_side_encryption_customer_key connection_string',
  ),
)
