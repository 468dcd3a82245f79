// Installs the storage servers that the tests need and Debian lacks into .cache/servers, at fixed versions. The registries of Go, npm
// and Python must be reachable.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Missing, note, root, run } from './step.mjs'

const dir = join(root, '.cache', 'servers')

const SERVERS = {
  versitygw: goProgram('github.com/versity/versitygw/cmd/versitygw', 'v1.8.0'),
  'fake-gcs-server': goProgram('github.com/fsouza/fake-gcs-server', 'v1.56.1'),
  azurite: {
    version: '3.35.0',
    install: (folder, version) =>
      run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', `azurite@${version}`]),
  },
  moto: {
    version: '5.2.5',
    install: (folder, version) => {
      run('python3', ['-m', 'venv', folder])
      run(join(folder, 'bin', 'pip'), ['install', '-q', `moto[s3,server]==${version}`])
    },
  },
}

/** Makes sure that each of these servers is there in its version. */
export function ensureServers() {
  for (const [name, { version, install }] of Object.entries(SERVERS)) {
    const folder = join(dir, name)
    const mark = join(folder, 'version')
    if (existsSync(mark) && readFileSync(mark, 'utf8') === version) continue
    note(`installing ${name} ${version} in .cache/servers`)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    try {
      install(folder, version)
    } catch (error) {
      throw new Missing(`${name} ${version} cannot be installed: ${error.message}`)
    }
    // Written last: marks a complete folder.
    writeFileSync(mark, version)
  }
}

function goProgram(path, version) {
  return {
    version,
    install: folder =>
      run('go', ['install', '-ldflags=-s -w', `${path}@${version}`], {
        env: { ...process.env, GOBIN: folder, GOFLAGS: '-buildvcs=false', CGO_ENABLED: '0' },
      }),
  }
}
