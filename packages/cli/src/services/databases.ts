// Services that keep files as rows of a database or entries of a store, in a server or in a file. What a row says is in service.ts.

import type { Service } from './service.ts'
import { words } from './words.ts'

const KEY_VALUE = ['root', 'connection_string', 'table', 'key_field', 'value_field']
const CONNECTION_STRING =
  'give the whole connection string, with its password, as -o connection_string=env:NAME'

/** Keys that are compared byte by byte and values of any length, with every name quoted as the database does it. */
function createTable(quote: string, keyType: string, valueType: string): NonNullable<Service['createTable']> {
  const quoted = (name: string) => quote + name.replaceAll(quote, quote + quote) + quote
  return ({ table = 'files', key_field = 'key', value_field = 'value' }) =>
    `CREATE TABLE ${quoted(table)} (${quoted(key_field)} ${keyType} PRIMARY KEY, ${quoted(value_field)} ${valueType})`
}

export const DATABASES: readonly Service[] = [
  {
    name: 'sqlite',
    summary: 'a table of an SQLite database',
    place: { kind: 'local', option: 'connection_string', prefix: 'sqlite://' },
    form: 'sqlite:///ABSOLUTE/FILE?table=NAME',
    options: KEY_VALUE,
    required: ['connection_string', 'table'],
    createTable: createTable('"', 'TEXT', 'BLOB'),
    probe: { connection_string: 'sqlite:///probe.db', table: 'probe' },
  },
  {
    name: 'postgresql',
    summary: 'a table of a PostgreSQL database',
    place: { kind: 'connection' },
    form: 'postgresql://USER@HOST:PORT/DATABASE?table=NAME',
    options: KEY_VALUE,
    required: ['connection_string', 'table'],
    createTable: createTable('"', 'TEXT', 'BYTEA'),
    credentials: CONNECTION_STRING,
    probe: { connection_string: 'postgresql://localhost/probe', table: 'probe' },
  },
  {
    name: 'mysql',
    summary: 'a table of a MySQL database',
    place: { kind: 'connection' },
    form: 'mysql://USER@HOST:PORT/DATABASE?table=NAME',
    options: KEY_VALUE,
    required: ['connection_string', 'table'],
    // VARCHAR compares without case; 3072 bytes are the longest key of an index, and a BLOB ends at 64 KiB.
    createTable: createTable('`', 'VARBINARY(3072)', 'LONGBLOB'),
    credentials: CONNECTION_STRING,
    probe: { connection_string: 'mysql://localhost/probe', table: 'probe' },
  },
  {
    name: 'mongodb',
    summary: 'a collection of a MongoDB database',
    place: { kind: 'connection' },
    form: 'mongodb://USER@HOST:PORT?database=NAME&collection=NAME',
    options: words('root connection_string database collection key_field value_field'),
    required: ['connection_string', 'database', 'collection'],
    credentials: CONNECTION_STRING,
    probe: { connection_string: 'mongodb://localhost', database: 'probe', collection: 'probe' },
  },
  {
    name: 'gridfs',
    summary: 'MongoDB GridFS',
    place: { kind: 'connection' },
    form: 'gridfs://?connection_string=mongodb://HOST:PORT&database=NAME&bucket=NAME',
    options: words('root connection_string database bucket chunk_size'),
    required: ['connection_string', 'database', 'bucket'],
    credentials: CONNECTION_STRING,
    probe: { connection_string: 'mongodb://localhost', database: 'probe', bucket: 'probe' },
  },
  {
    name: 'redb',
    summary: 'a redb database file',
    place: { kind: 'local', option: 'datadir' },
    form: 'redb:///ABSOLUTE/FILE?table=NAME',
    options: words('root datadir table'),
    required: ['datadir', 'table'],
    probe: { datadir: '{folder}/redb', table: 'probe' },
  },
  {
    name: 'sled',
    summary: 'a sled database folder',
    place: { kind: 'local', option: 'datadir' },
    form: 'sled:///ABSOLUTE/FOLDER',
    options: words('root datadir tree'),
    required: ['datadir'],
    probe: { datadir: '{folder}/sled' },
  },
  {
    name: 'persy',
    summary: 'a persy database file',
    place: { kind: 'local', option: 'datafile' },
    form: 'persy:///ABSOLUTE/FILE?segment=NAME&index=NAME',
    options: words('datafile segment index'),
    required: ['datafile', 'segment', 'index'],
    probe: { datafile: '{folder}/persy', segment: 'probe', index: 'probe' },
  },
  {
    name: 'cacache',
    summary: 'a cacache folder',
    place: { kind: 'local', option: 'datadir' },
    form: 'cacache:///ABSOLUTE/FOLDER',
    options: ['datadir'],
    required: ['datadir'],
    probe: { datadir: '{folder}/cacache' },
  },
]
