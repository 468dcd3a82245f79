// The "newc" cpio format that Linux unpacks as an initramfs. Archives may be concatenated, and a later file replaces an
// earlier one of the same name; that is how a boot adds its script to a cached base.
// Format: Documentation/driver-api/early-userspace/buffer-format.rst in Linux.

export type CpioEntry =
  | { path: string; kind: 'file'; data: Uint8Array; mode?: number }
  | { path: string; kind: 'symlink'; target: string }
  | { path: string; kind: 'directory' }

const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const S_IFDIR = 0o040000

/** One archive with its trailer. Parent directories are added where the entries do not name them. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = []
  let ino = 1
  for (const entry of withParents(entries)) {
    if (entry.kind === 'directory') push(parts, ino++, entry.path, S_IFDIR | 0o755, new Uint8Array())
    else if (entry.kind === 'symlink')
      push(parts, ino++, entry.path, S_IFLNK | 0o777, Buffer.from(entry.target))
    else push(parts, ino++, entry.path, S_IFREG | (entry.mode ?? 0o644), entry.data)
  }
  push(parts, 0, 'TRAILER!!!', 0, new Uint8Array())
  return Buffer.concat(parts)
}

function push(parts: Uint8Array[], ino: number, path: string, mode: number, data: Uint8Array): void {
  const name = Buffer.from(`${path}\0`)
  const uid = 0
  const gid = 0
  const links = 1
  const mtime = 0
  const device = [0, 0, 0, 0]
  const check = 0
  const fields = [ino, mode, uid, gid, links, mtime, data.length, ...device, name.length, check]
  const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`
  parts.push(Buffer.from(header), name, padding(header.length + name.length), data, padding(data.length))
}

/** Header with name, and data, each end on a multiple of four bytes. */
function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3)
}

function withParents(entries: readonly CpioEntry[]): CpioEntry[] {
  const seen = new Set<string>()
  const all: CpioEntry[] = []
  for (const entry of entries) {
    const names = entry.path.split('/')
    for (let depth = 1; depth < names.length; depth++) {
      const path = names.slice(0, depth).join('/')
      if (!seen.has(path)) all.push({ path, kind: 'directory' })
      seen.add(path)
    }
    if (entry.kind === 'directory' && seen.has(entry.path)) continue
    seen.add(entry.path)
    all.push(entry)
  }
  return all
}
