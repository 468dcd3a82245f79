// The command line → a command → an exit code.

import { readFileSync } from 'node:fs'
import { bindingBuild } from '@ovfs/opendal-fs'
import { type Command, parseInvocation } from './command.ts'
import { COMMANDS, helpCommand, serveCommand, servicesCommand } from './commands.ts'
import { CliError, oneLine } from './error.ts'
import { ExitCode, failureCode } from './exit-code.ts'
import { commandHelp, overview } from './help.ts'
import { nearest } from './nearest.ts'
import { type ServeHost, serve } from './serve.ts'
import { namedService, offeredServices, servicesText, serviceText } from './services-report.ts'
import { serveSettings } from './settings.ts'

export interface Host extends ServeHost {
  /** Writes what was asked for, to stdout. */
  readonly print: (text: string) => void
}

export async function runProgram(args: readonly string[], host: Host): Promise<ExitCode> {
  try {
    return await dispatch(args, host)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    host.write(`ovfs: ${oneLine(error)}\n`)
    return failureCode(error, host.frontendWaits)
  }
}

async function dispatch(args: readonly string[], host: Host): Promise<ExitCode> {
  const [name, ...rest] = args
  if (name === undefined) {
    host.write(overview())
    return ExitCode.FAILED
  }
  if (name === '--help' || name === '-h') return print(host, overview())
  if (name === '--version' || name === '-V') return print(host, versions())
  if (name === '--print-capabilities') return print(host, capabilities())
  const command = findCommand(name)
  const options = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (options.includes('--help') || options.includes('-h')) return print(host, commandHelp(command))
  if (options.includes('--print-capabilities')) return print(host, capabilities())
  switch (command) {
    case serveCommand:
      return serve(serveSettings(parseInvocation(serveCommand, rest)), host)
    case servicesCommand:
      return services(rest, host)
    default:
      return help(rest, host)
  }
}

function services(args: readonly string[], host: Host): ExitCode {
  const { argument, values } = parseInvocation(servicesCommand, args)
  const offered = offeredServices()
  const named = argument === undefined ? undefined : namedService(offered, argument)
  if (values.json) return print(host, `${JSON.stringify(named ?? offered, null, 2)}\n`)
  return print(host, named === undefined ? servicesText(offered) : serviceText(named))
}

function help(args: readonly string[], host: Host): ExitCode {
  const { argument } = parseInvocation(helpCommand, args)
  return print(host, argument === undefined ? overview() : commandHelp(findCommand(argument)))
}

function findCommand(name: string): Command {
  const command = COMMANDS.find(candidate => candidate.name === name)
  if (command !== undefined) return command
  const near = nearest(
    name,
    COMMANDS.map(candidate => candidate.name),
  )
  const what = name.startsWith('-') ? 'option' : 'command'
  throw new CliError(
    'USAGE',
    `unknown ${what} ${JSON.stringify(name)}`,
    near === undefined ? 'see ovfs --help' : `did you mean ${near}?`,
  )
}

/** vhost-user specification, back-end program conventions: what kind of device this is. */
function capabilities(): string {
  return `${JSON.stringify({ type: 'fs', features: [] })}\n`
}

/** Of ovfs and of OpenDAL's binding, with the reason if the binding is an older one. */
function versions(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const { version, passedOver } = bindingBuild
  const reason = passedOver === undefined ? '' : ` (not ${passedOver.version}: ${passedOver.reason})`
  return `ovfs ${manifest.version}\nopendal ${version}${reason}\n`
}

function print(host: Host, text: string): ExitCode {
  host.print(text)
  return ExitCode.OK
}
