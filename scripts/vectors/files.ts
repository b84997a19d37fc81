/** Vectors as files: one JSON object each. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

/** The text of a file. */
export function fileText(one: object): string {
  return `${JSON.stringify(one, null, 2)}\n`;
}

/** Vectors by their file names. */
export function byFile<T extends { readonly name: string }>(all: readonly T[]): Map<string, T> {
  const files = new Map(all.map((one) => [`${one.name}.json`, one]));
  if (files.size !== all.length) throw new Error('two vectors have one name');
  return files;
}

/** Writes a folder of vectors anew. */
export function writeVectors(folder: URL, vectors: ReadonlyMap<string, object>): void {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) if (name.endsWith('.json')) rmSync(new URL(name, folder));
  for (const [name, one] of vectors) writeFileSync(new URL(name, folder), fileText(one));
}
