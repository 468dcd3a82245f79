// Services within this host. What a row says is in service.ts.

import type { Service } from './service.ts'
import { words } from './words.ts'

export const LOCAL: readonly Service[] = [
  {
    name: 'memory',
    summary: 'this process, lost when it ends',
    volatile: true,
    place: { kind: 'root' },
    form: 'memory://',
    options: ['root'],
    probe: {},
  },
  {
    name: 'fs',
    summary: 'a folder of this host',
    place: { kind: 'local', option: 'root' },
    form: 'fs:///ABSOLUTE/FOLDER',
    options: ['root', 'atomic_write_dir'],
    required: ['root'],
    probe: { root: '/' },
  },
  {
    name: 'dashmap',
    summary: 'this process, lost when it ends',
    volatile: true,
    place: { kind: 'root' },
    form: 'dashmap://',
    options: ['root'],
    probe: {},
  },
  {
    name: 'moka',
    summary: 'a cache in this process; it may drop what it holds',
    volatile: true,
    place: { kind: 'root' },
    form: 'moka://',
    options: words('root name max_capacity time_to_live time_to_idle'),
    probe: {},
  },
  {
    name: 'mini-moka',
    summary: 'a cache in this process; it may drop what it holds',
    volatile: true,
    place: { kind: 'root' },
    form: 'mini-moka://',
    options: words('root max_capacity time_to_live time_to_idle'),
    probe: {},
  },
]
