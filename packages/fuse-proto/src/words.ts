// 64-bit numbers from their two words: sizes, offsets and ids, which JavaScript holds exactly up to 2^53-1.

const MAX_SAFE_HIGH_WORD = 0x1f_ffff

/** The number that two words make, -1 if it is above 2^53-1. Small ones stay integers for the engine, too. */
export function joinWords(low: number, high: number): number {
  return high === 0 ? low : high > MAX_SAFE_HIGH_WORD ? -1 : high * 0x1_0000_0000 + low
}
