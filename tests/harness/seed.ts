// Where the random tests begin. The same every time unless somebody asks for more: a change is judged by what it does, and not by
// what the dice say of the code before it. Long runs take new seeds; what those find becomes a test of its own.

/** 32 bits: what the environment variable says, a new one if that is `random`, and always the same if it says nothing. */
export function seedOf(variable: string): number {
  const given = process.env[variable] ?? '1'
  if (given === 'random') return Math.floor(Math.random() * 2 ** 32)
  const seed = Number(given)
  if (!Number.isSafeInteger(seed)) throw new RangeError(`${variable} is a number or random, not ${given}`)
  return seed
}
