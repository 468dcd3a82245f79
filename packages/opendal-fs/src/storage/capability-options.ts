// Makes options that switch off a capability work with every build of the binding. Builds after 0.49.2 accept such options and ignore
// them; they have a layer for the same purpose, which is added here.

import type { Native } from './binding.ts'

/** Service → option → what CapabilityOverrideLayer takes. */
const OVERRIDES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  s3: { disable_write_with_if_match: 'write_with_if_match=false' },
  webdav: { disable_copy: 'copy=false' },
  // A bucket that keeps versions refuses the header.
  oss: { enable_versioning: 'write_with_if_not_exists=false' },
  cos: { enable_versioning: 'write_with_if_not_exists=false' },
}

/** The class that makes operators, with these options in effect. */
export function operatorWithCapabilityOptions({
  Operator,
  CapabilityOverrideLayer,
}: Native): Native['Operator'] {
  return new Proxy(Operator, {
    construct(target, args: ConstructorParameters<Native['Operator']>) {
      const operator = new target(...args)
      const overrides = overridesOf(...args)
      return overrides.length === 0
        ? operator
        : operator.layer(new CapabilityOverrideLayer(overrides.join(',')).build())
    },
  })
}

function overridesOf(scheme: string, options?: Record<string, string> | null): readonly string[] {
  return Object.entries(OVERRIDES[scheme] ?? {})
    .filter(([name]) => options?.[name] === 'true')
    .map(([, override]) => override)
}
