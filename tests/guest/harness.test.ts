import { test, expect } from 'vitest'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { bootGuest } from '../harness/guest.ts'
import { startVirtiofsd } from '../harness/virtiofsd.ts'
test('boots', async () => {
  const dir = mkdtempSync('/tmp/src-')
  writeFileSync(dir + '/hello', 'hi\n')
  const d = await startVirtiofsd(dir)
  const t = Date.now()
  const r = await bootGuest({ shares: [{ socketPath: d.socketPath, tag: 'ovfs' }], script: 'cat /proc/uptime; ls -la /mnt/ovfs; cat /mnt/ovfs/hello; host foo bar; printf "a\\r\\n\\001\\000b"; exit 7', timeoutMs: 30000, onCall: async t => console.log('call', t) })
  console.log(Date.now() - t, JSON.stringify(r), r.output)
  expect(r.exitCode).toBe(7)
})
