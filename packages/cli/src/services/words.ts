// Lists of names written as one line of words.

export function words(text: string): readonly string[] {
  return text.split(' ')
}
