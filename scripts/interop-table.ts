/** The outcomes of a run of `npm run test:interop` as Markdown: for the terminal, and for docs/interop.md. */
import type { Entry } from '../test/interop/support/world.ts';

const HEAD = ['Client', 'Direction', 'Path', 'Tried', 'Outcome'];

/** One line for each client, direction, path and outcome, with how often it came. */
export function table(entries: readonly Entry[]): string {
  const counts = new Map<string, number>();
  for (const { client, direction, path, mishap, outcome } of entries) {
    const key = JSON.stringify([client, direction, path, mishap, outcome]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const rows = [...counts]
    .map(([key, count]) => {
      const [client = '', direction = '', path = '', mishap = '', outcome = ''] = JSON.parse(
        key,
      ) as string[];
      const tried = mishap === '' ? `${count} file${count === 1 ? '' : 's'}` : mishap;
      return [client, direction, path, tried, outcome];
    })
    .sort((a, b) => (a.join('\n') < b.join('\n') ? -1 : 1));
  const widths = HEAD.map((head, i) =>
    Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(HEAD), rule, ...rows.map(line)].join('\n');
}

/** The page that a whole run writes. */
export function page(entries: readonly Entry[]): string {
  return `# Interoperability

What \`npm run test:interop\` saw with the clients of others, each without a screen and as its Debian package is.
This page is written by a whole run in which every test held (\`npm run test:interop -- --docs\`), not by hand.

Files have 0, 1, 15, 16, 17, 100,000, 4,999,999 bytes and 200 MiB; names have spaces, quotes, other scripts, emoji or
200 characters; the two sides meet for the first time, again, after a restart of either, or after a second device was
added: each two of these values, and each with each path, come together at least once in both directions. What landed
is compared with what was sent, byte by byte. What goes wrong on the way is tried on every path, and where it takes
minutes or comes before the first byte on one. \`-- full\` tries the whole product.

\`verified\`: tag, size and every hash that the sender gave were right. \`delivered\`: the client said that it has the
file; no client proves it. Dino 0.4.2 looks at no hash, and at the tag only when the stream ends; it cannot decline an
offer and sends no empty file, and its encrypted in-band streams work in neither direction. Libervia 0.9.0 says success
whatever its check of the hash says, and cannot break off a file; where it should send over a proxy it goes in-band.

${table(entries)}
`;
}
