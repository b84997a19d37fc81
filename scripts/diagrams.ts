/** Writes docs/state-machines.md from the state machines that run. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { transitions as jingle } from '../src/jingle/machine.ts';

interface Transition {
  readonly from: string;
  readonly event: string;
  readonly to: string;
}

const root = new URL('../', import.meta.url);

/** The machines of the upper layers, each where its folder is part of the program. */
const OTHERS = [
  ['SOCKS5 bytestream negotiation (XEP-0260)', 'src/transport/s5b/edges.ts'],
  ['Transfer', 'src/transfer/edges.ts'],
] as const;

/** A mermaid state diagram; events that lead the same way share an arrow. */
export function diagram(transitions: readonly Transition[]): string {
  const id = (state: string) => state.replace(/[^A-Za-z0-9]+/g, '_');
  const states = new Set(transitions.flatMap(({ from, to }) => [from, to]));
  const arrows = new Map<string, string[]>();
  for (const { from, event, to } of transitions) {
    const arrow = `${id(from)} --> ${id(to)}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), event.replaceAll(':', ',')]);
  }
  return [
    '```mermaid',
    'stateDiagram-v2',
    ...[...states].map((state) => `  state "${state}" as ${id(state)}`),
    ...[...arrows].map(([arrow, events]) => `  ${arrow}: ${events.join('<br/>')}`),
    '```',
  ].join('\n');
}

/** The whole page. */
export async function page(): Promise<string> {
  const sections: [string, readonly Transition[]][] = [['Jingle session (XEP-0166)', jingle]];
  for (const [title, path] of OTHERS) {
    const url = new URL(path, root);
    if (!existsSync(url)) continue;
    const machine = (await import(url.href)) as { transitions: readonly Transition[] };
    sections.push([title, machine.transitions]);
  }
  const body = sections.map(([title, table]) => `## ${title}\n\n${diagram(table)}\n`);
  return `# State machines\n\nWritten by \`scripts/diagrams.ts\` from the code; do not edit.\n\n${body.join('\n')}`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  mkdirSync(new URL('docs/', root), { recursive: true });
  writeFileSync(new URL('docs/state-machines.md', root), await page());
}
