// Loaded into the attacked daemon before its own program (`node --import`): SIGUSR2 makes it collect its garbage, and say on
// standard error what it holds then.

import { heldBytes } from './collected.ts'

process.on('SIGUSR2', () => {
  void heldBytes().then(bytes => process.stderr.write(`holds ${bytes} bytes\n`))
})
