// The commands of ovfs. What each option means for the file system is said in @ovfs/opendal-fs.

import type { Command, Options } from './command.ts'
import { LOG_FORMATS, LOG_LEVELS } from './log.ts'
import {
  duration,
  id,
  mode,
  oneOf,
  path,
  sizeFrom,
  socketPath,
  tag,
  text,
  timeLimit,
  wholeNumber,
} from './option-value.ts'

const define = <const O extends Options>(command: Command<O>): Command<O> => command

const SERVE_OPTIONS = {
  socket: { kind: 'value', value: 'PATH', parse: socketPath, summary: 'listen on this Unix socket' },
  'socket-path': {
    kind: 'value',
    value: 'PATH',
    parse: socketPath,
    summary: 'the same, as other back-ends call it',
  },
  fd: {
    kind: 'value',
    value: 'N',
    parse: wholeNumber(0, 0x7fff_ffff),
    summary: 'listen on this inherited socket instead',
  },
  'socket-mode': {
    kind: 'value',
    value: 'MODE',
    parse: mode,
    summary: 'permissions of the socket file; 0660 with --socket-group',
  },
  'socket-group': { kind: 'value', value: 'GROUP', parse: text, summary: 'group of the socket file' },
  tag: {
    kind: 'value',
    value: 'NAME',
    parse: tag,
    summary: 'what the guest mounts, for monitors that ask the daemon; QEMU has its own',
  },
  queues: {
    kind: 'value',
    value: 'N',
    // Ring indices have 8 bits, and one ring is for urgent requests.
    parse: wholeNumber(1, 255),
    default: '8',
    summary: 'request queues that a guest may use',
  },
  'no-fd-store': {
    kind: 'flag',
    summary: 'with --state-dir under systemd: do not leave the front-end to the next daemon',
  },
  once: { kind: 'flag', summary: 'exit when the first front-end has left' },
  option: {
    kind: 'list',
    short: 'o',
    value: 'KEY=VALUE',
    summary: 'option of the service; VALUE may be env:NAME or file:PATH',
  },
  'read-only': { kind: 'flag', summary: 'refuse every change' },
  uid: { kind: 'value', value: 'ID', parse: id, default: '0', summary: 'owner of files that have none kept' },
  gid: { kind: 'value', value: 'ID', parse: id, default: '0', summary: 'group of files that have none kept' },
  'file-mode': {
    kind: 'value',
    value: 'MODE',
    parse: mode,
    default: '0644',
    summary: 'permissions of files that have none kept',
  },
  'dir-mode': {
    kind: 'value',
    value: 'MODE',
    parse: mode,
    default: '0755',
    summary: 'permissions of folders that have none kept',
  },
  attrs: {
    kind: 'value',
    value: 'KIND',
    parse: oneOf(['sidecar', 'none']),
    default: 'sidecar',
    summary: 'what keeps modes, owners, times, links: an object per folder (sidecar), none',
  },
  'user-metadata': {
    kind: 'flag',
    summary: 'show what s3fs, gcsfuse and rclone keep of a file; costs a request for each',
  },
  'attr-ttl': {
    kind: 'value',
    value: 'TIME',
    parse: duration,
    default: '1s',
    summary: 'how long attributes are trusted',
  },
  'entry-ttl': {
    kind: 'value',
    value: 'TIME',
    parse: duration,
    default: '1s',
    summary: 'how long names are trusted',
  },
  'cache-size': {
    kind: 'value',
    value: 'SIZE',
    parse: sizeFrom('16M'),
    default: '256M',
    summary: 'memory for cached data',
  },
  'staging-dir': {
    kind: 'value',
    value: 'PATH',
    parse: path,
    summary: "folder for data not yet published; the system's for temporary files",
  },
  'state-dir': {
    kind: 'value',
    value: 'PATH',
    parse: path,
    summary: 'folder for what must survive a crash of the daemon; one daemon each',
  },
  'write-back': {
    kind: 'flag',
    summary: 'closing a file waits for --state-dir only, fsync for the service',
  },
  capacity: {
    kind: 'value',
    value: 'SIZE',
    parse: sizeFrom('1M'),
    summary: 'size of the file system that df shows',
  },
  'max-bytes': {
    kind: 'value',
    value: 'SIZE',
    parse: sizeFrom('4K'),
    summary: 'refuse to store more than this, with EDQUOT; what is there is counted first',
  },
  'max-files': {
    kind: 'value',
    value: 'N',
    parse: wholeNumber(1, 0xffff_ffff),
    summary: 'refuse to make more files and folders than this',
  },
  timeout: {
    kind: 'value',
    value: 'TIME',
    parse: timeLimit,
    default: '30s',
    summary: 'how long the storage may be silent before an operation fails',
  },
  'shutdown-timeout': {
    kind: 'value',
    value: 'TIME',
    parse: timeLimit,
    default: '30s',
    summary: 'time limit of publishing at the end',
  },
  'log-level': {
    kind: 'value',
    value: 'LEVEL',
    parse: oneOf(LOG_LEVELS),
    default: 'info',
    summary: `${LOG_LEVELS.join(', ')} (a line for each request)`,
  },
  'log-format': {
    kind: 'value',
    value: 'FORMAT',
    parse: oneOf(LOG_FORMATS),
    default: 'text',
    summary: LOG_FORMATS.join(', '),
  },
} as const satisfies Options

export const serveCommand = define({
  name: 'serve',
  summary: 'serve a storage to one virtual machine at a time',
  argument: { name: 'URI', required: true, summary: 'what to serve: SERVICE://..., see ovfs services' },
  groups: [
    {
      title: 'Socket',
      options: [
        'socket',
        'socket-path',
        'fd',
        'socket-mode',
        'socket-group',
        'tag',
        'queues',
        'no-fd-store',
        'once',
      ],
    },
    { title: 'Storage', options: ['option', 'read-only', 'timeout', 'shutdown-timeout'] },
    {
      title: 'File system',
      options: [
        'uid',
        'gid',
        'file-mode',
        'dir-mode',
        'attrs',
        'user-metadata',
        'attr-ttl',
        'entry-ttl',
        'cache-size',
        'staging-dir',
        'state-dir',
        'write-back',
        'capacity',
        'max-bytes',
        'max-files',
      ],
    },
    { title: 'Log', options: ['log-level', 'log-format'] },
  ],
  options: SERVE_OPTIONS,
  notes: [
    "The options of a service are OpenDAL's own: see ovfs services NAME. They stand in the query of the URI or follow -o.",
    'Secrets belong in -o KEY=env:NAME or -o KEY=file:PATH: every user of this host can read a command line.',
    'SIGTERM, SIGINT and SIGHUP publish what is not yet published and exit; a second one exits at once.',
  ],
  examples: [
    'ovfs serve fs:///srv/share --socket /run/ovfs.sock',
    "ovfs serve 's3://bucket/prefix?region=eu-west-1' --socket /run/ovfs.sock",
    'ovfs serve webdavs://host/path --socket /run/ovfs.sock -o username=me -o password=file:/etc/ovfs/password',
  ],
})

export const servicesCommand = define({
  name: 'services',
  summary: 'list the services of the installed OpenDAL and what they can do',
  argument: { name: 'NAME', required: false, summary: 'show the options of this service only' },
  groups: [{ title: 'Output', options: ['json'] }],
  options: { json: { kind: 'flag', summary: 'as JSON' } },
  examples: ['ovfs services', 'ovfs services s3', 'ovfs services --json'],
})

export const helpCommand = define({
  name: 'help',
  summary: 'explain a command',
  argument: { name: 'COMMAND', required: false, summary: 'the command to explain' },
  groups: [],
  options: {},
  examples: ['ovfs help serve'],
})

export const COMMANDS: readonly Command[] = [serveCommand, servicesCommand, helpCommand]
