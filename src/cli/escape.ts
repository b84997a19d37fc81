/** Text from the network on its way to a terminal: nothing in it may act or reorder. */

// Controls, lone surrogates, line and paragraph separators, and whatever changes direction or is unseen.
const UNSAFE =
  /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** The text with control and bidirectional characters written as `\u{…}`. */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}
