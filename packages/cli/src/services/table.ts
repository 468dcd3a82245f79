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
    ['s3n', { service: 's3' }],
    ['gs', { service: 'gcs' }],
    ['az', { service: 'azblob' }],
    ['wasb', { service: 'azblob' }],
    ['wasbs', { service: 'azblob' }],
    ['abfs', { service: 'azdls' }],
    ['abfss', { service: 'azdls' }],
    ['webdavs', { service: 'webdav', protocol: 'https' }],
    ['dav', { service: 'webdav', protocol: 'http' }],
    ['davs', { service: 'webdav', protocol: 'https' }],
    ['dav+http', { service: 'webdav', protocol: 'http' }],
    ['dav+https', { service: 'webdav', protocol: 'https' }],
    ['http+dav', { service: 'webdav', protocol: 'http' }],
    ['https+dav', { service: 'webdav', protocol: 'https' }],
    ['webdav+http', { service: 'webdav', protocol: 'http' }],
    ['webdav+https', { service: 'webdav', protocol: 'https' }],
    ['http+webdav', { service: 'webdav', protocol: 'http' }],
    ['https+webdav', { service: 'webdav', protocol: 'https' }],
    ['https', { service: 'http', protocol: 'https' }],
    ['rediss', { service: 'redis', protocol: 'rediss' }],
    ['valkey', { service: 'redis' }],
    ['valkeys', { service: 'redis', protocol: 'rediss' }],
    ['memcache', { service: 'memcached' }],
    ['postgres', { service: 'postgresql' }],
    ['mariadb', { service: 'mysql' }],
    ['mongodb+srv', { service: 'mongodb', protocol: 'mongodb+srv' }],
    ['sqlite3', { service: 'sqlite' }],
    ['huggingface', { service: 'hf' }],
  ])

const OVER_S3 = 'it speaks the protocol of S3: write s3://BUCKET?endpoint=http://HOST:PORT'
const NOT_COMPILED_IN = 'the OpenDAL binding is built without it; see ovfs services'

/** Schemes that users try although no service has them, with what to write instead. */
export const FOREIGN_SCHEMES: ReadonlyMap<string, string> = new Map([
  ...words('minio ceph rgw garage seaweedfs r2 wasabi spaces').map(name => [name, OVER_S3] as const),
  ...words('ftp ftps sftp ssh scp smb cifs nfs').map(name => [name, NOT_COMPILED_IN] as const),
  ['hdfs', 'write webhdfs://HOST:PORT/PATH'],
])

/** Options whose values must not be seen. */
export const SECRET_OPTIONS: ReadonlySet<string> = new Set(
  words(
    'secret_access_key session_token security_token access_token refresh_token client_secret account_key sas_token encryption_key application_key secret_key access_key_secret credential token password runtime_token delegation server_side_encryption_customer_key connection_string',
  ),
)
