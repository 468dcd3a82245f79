export function keepPromises(FilesystemStore: { readonly prototype: object }): void
