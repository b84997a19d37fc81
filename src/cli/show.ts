/** Shows a transfer's events: results on stdout, everything else at the terminal. */
import type { OnEvent } from '../app/types.ts';
import { Exit } from '../core/errors.ts';
import type { Route } from '../jingle/transport.ts';
import type { TransferEvent } from '../transfer/events.ts';
import type { Context } from './context.ts';
import { escapeText } from './escape.ts';
import { formatFingerprint, formatRate, formatSize } from './format.ts';
import { toJson } from './json.ts';
import { advance, type Progress, routeText } from './progress.ts';

/** What stdout holds: the landed paths, a list, or the data itself, and then a failure is loud. */
export type Stdout = 'paths' | 'list' | 'data';

/**
 * Gives the listener for a command's events.
 *
 */
export function showEvents(
  { terminal, settings, events }: Context,
  stdout: Stdout = 'paths',
): OnEvent {
  const json = settings.on('json');
  const running = new Map<string, Progress>();
  const move = (id: string, change: (p: Progress) => Progress) => {
    const before = running.get(id);
    if (!before) return;
    const after = change(before);
    running.set(id, after);
    terminal.progress(id, after);
  };
  let route: Route | undefined;
  /** The transfer that is waited for, or the id of what is waited for between transfers. */
  let awaited: string | undefined;
  const arrived = (id: string) => {
    if (id === awaited) terminal.waiting(undefined);
  };
  return (event) => {
    if (json) events.write(`${toJson(event)}\n`);
    switch (event.event) {
      case 'waiting':
        awaited = event.id;
        terminal.waiting(`Waiting for ${escapeText(event.what)}`);
        break;
      case 'notice':
        terminal.line(escapeText(event.message));
        break;
      case 'offer':
        if (terminal.live)
          terminal.line(
            `${escapeText(event.peer)}: ${escapeText(event.file)}, ${formatSize(event.size)}, fingerprint ${formatFingerprint(event.fingerprint)}`,
          );
        break;
      case 'start': {
        arrived(event.id);
        const { file, size, route, time, resumed_from } = event;
        running.set(event.id, { file, size, route, bytes: resumed_from, rate: 0, time });
        move(event.id, (p) => p);
        if (resumed_from > 0 && size > 0)
          terminal.line(
            `${escapeText(file)} resumed at ${Math.floor((resumed_from * 100) / size)} %.`,
          );
        if (terminal.live) terminal.line(`Route: ${routeText(route)}`);
        break;
      }
      case 'progress':
        move(event.id, (p) => advance(p, event.bytes, event.time));
        break;
      case 'finishing':
        move(event.id, (p) => ({ ...p, finishing: event.what }));
        break;
      case 'end':
        route = running.get(event.id)?.route;
        running.delete(event.id);
        arrived(event.id);
        terminal.ended(event.id);
        // The sentence of the error closes what went wrong.
        if (event.exit === Exit.done) terminal.line(closing(event, route));
        else if (stdout === 'data' && event.direction === 'receive' && event.bytes > 0)
          terminal.error(
            'What was written to standard output is NOT the verified file: do not use it.',
          );
        if (
          !json &&
          stdout === 'paths' &&
          event.direction === 'receive' &&
          (event.status === 'verified' || event.status === 'partial')
        )
          for (const path of event.files ?? [event.file]) process.stdout.write(`${path}\n`);
        break;
      case 'error':
        terminal.error(escapeText(event.message));
        break;
    }
  };
}

function closing(event: TransferEvent & { event: 'end' }, route: Route | undefined): string {
  const way = event.direction === 'send' ? 'to' : 'from';
  const rate = event.elapsed > 0 ? `, ${formatRate((event.bytes * 1000) / event.elapsed)}` : '';
  const hash = event.sha256 === undefined ? '' : `, SHA-256 ${event.sha256}`;
  const { part_of: whole, bytes } = event;
  const part =
    whole === undefined
      ? ''
      : `, bytes ${whole.offset} to ${whole.offset + Math.max(0, bytes - 1)} of ${formatSize(whole.size)}`;
  const elsewhere = event.as === 'stdout' ? ' to standard output' : '';
  const by = route === undefined ? '' : `, ${routeText(route)}`;
  return `${escapeText(event.file)} ${way} ${escapeText(event.peer)}: ${event.status}${elsewhere}, ${formatSize(event.bytes)}${part}${rate}${by}${hash}`;
}
