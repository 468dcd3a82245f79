// Services that hold one account's files; the URI has no host. What a row says is in service.ts.

import type { Service } from './service.ts'
import { words } from './words.ts'

const OAUTH = ['root', 'access_token', 'refresh_token', 'client_id', 'client_secret']
const OAUTH_CREDENTIALS = 'give access_token, or refresh_token with client_id and client_secret'

export const DRIVES: readonly Service[] = [
  {
    name: 'dropbox',
    summary: 'Dropbox',
    place: { kind: 'root' },
    form: 'dropbox:///PREFIX',
    options: OAUTH,
    credentials: OAUTH_CREDENTIALS,
    probe: { access_token: 'probe' },
  },
  {
    name: 'gdrive',
    summary: 'Google Drive',
    place: { kind: 'root' },
    form: 'gdrive:///PREFIX',
    options: OAUTH,
    credentials: OAUTH_CREDENTIALS,
    probe: { access_token: 'probe' },
  },
  {
    name: 'onedrive',
    summary: 'Microsoft OneDrive',
    place: { kind: 'root' },
    form: 'onedrive:///PREFIX',
    options: [...OAUTH, 'enable_versioning'],
    credentials: OAUTH_CREDENTIALS,
    probe: { access_token: 'probe' },
  },
  {
    name: 'aliyun-drive',
    summary: 'Aliyun Drive',
    place: { kind: 'root' },
    form: 'aliyun-drive:///PREFIX?drive_type=default',
    options: [...OAUTH, 'drive_type'],
    defaults: { drive_type: 'default' },
    credentials: OAUTH_CREDENTIALS,
    probe: { access_token: 'probe', drive_type: 'default' },
  },
  {
    name: 'yandex-disk',
    summary: 'Yandex Disk',
    place: { kind: 'root' },
    form: 'yandex-disk:///PREFIX',
    options: words('root access_token'),
    required: ['access_token'],
    credentials: 'give access_token',
    probe: { access_token: 'probe' },
  },
  {
    name: 'koofr',
    summary: 'Koofr',
    place: { kind: 'root' },
    form: 'koofr:///PREFIX?email=ADDRESS',
    options: words('root endpoint email password'),
    required: ['endpoint', 'email', 'password'],
    defaults: { endpoint: 'https://api.koofr.net/' },
    credentials: 'give email and password',
    probe: { endpoint: 'https://localhost', email: 'probe', password: 'probe' },
  },
  {
    name: 'ghac',
    summary: 'the cache of GitHub Actions',
    place: { kind: 'root' },
    form: 'ghac:///PREFIX',
    options: words('root endpoint version runtime_token'),
    credentials: 'it works within GitHub Actions only',
    probe: { endpoint: 'https://localhost', runtime_token: 'probe' },
  },
  {
    name: 'vercel-artifacts',
    summary: 'Vercel Remote Cache, no delete, no listing',
    place: { kind: 'root' },
    form: 'vercel-artifacts://',
    options: ['access_token'],
    required: ['access_token'],
    credentials: 'give access_token',
    probe: { access_token: 'probe' },
  },
]
