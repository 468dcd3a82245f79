import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../src/commands.ts'
import { commandHelp, overview } from '../src/help.ts'

describe('help', () => {
  it('of ovfs', async () => {
    await expect(overview()).toMatchFileSnapshot('help/overview.txt')
  })

  it.each(COMMANDS.map(command => [command.name, command] as const))('of %s', async (name, command) => {
    await expect(commandHelp(command)).toMatchFileSnapshot(`help/${name}.txt`)
  })

  it('fits a terminal of 100 columns', () => {
    for (const text of [overview(), ...COMMANDS.map(commandHelp)]) {
      const wide = text.split('\n').filter(line => line.length > 100 && !line.startsWith('  ovfs '))
      expect(wide).toEqual([])
    }
  })
})
