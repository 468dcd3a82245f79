// OpenDAL, in the build that this process uses. All code imports Operator from here, because operators and layers of two builds of
// the binding cannot be mixed. The types are those of the newer build.

import { createRequire } from 'node:module'
import type * as opendal from 'opendal'
import { operatorWithCapabilityOptions } from './capability-options.ts'
import { BINDING_VARIABLE, type LoadedBinding, loadBinding } from './load-binding.ts'

export type { Capability, Metadata } from 'opendal'

/** What the native library exports. */
export type Native = typeof opendal

const loaded: LoadedBinding<Native> = loadBinding({
  require: createRequire(import.meta.url),
  arch: process.arch,
  wanted: process.env[BINDING_VARIABLE],
})

export const { RetryLayer, TimeoutLayer } = loaded.native
/** 0.49.2 has no such layer, and needs none. */
export const Operator =
  loaded.native.CapabilityOverrideLayer === undefined
    ? loaded.native.Operator
    : operatorWithCapabilityOptions(loaded.native)
export type Operator = opendal.Operator

export interface BindingBuild {
  /** Of the npm package, or the path that OVFS_OPENDAL names. */
  readonly version: string
  /** The newer build and why it is not used, if that is so. */
  readonly passedOver: { readonly version: string; readonly reason: string } | undefined
}

/** The build of the binding that this process uses. */
export const bindingBuild: BindingBuild = { version: loaded.version, passedOver: loaded.passedOver }
