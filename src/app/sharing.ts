/** `jet share`: serves files to those who may have them. */
import { setImmediate } from 'node:timers/promises';
import { Exit, type ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { warmUp } from '../files/memory.ts';
import type { Catalogue, CatalogueEntry } from '../transfer/catalogue.ts';
import { LIST_NAME, memoryBytes, writeList } from '../transfer/listing.ts';
import type { Request } from '../transfer/sealed.ts';
import { LiveTransfers } from '../transfer/live.ts';
import { Receiver } from '../transfer/receive.ts';
import { Holder, type Held } from '../transfer/share.ts';
import { Waiting } from '../transfer/waiting.ts';
import { acknowledging, answer, attend, refusing } from './attending.ts';
import type { Filling, OnEvent, OnShared, ShareOptions, SharedFile } from './types.ts';
import type { Workbench } from './workbench.ts';

/** Files that are told between two turns of the loop. */
const LISTED = 1000;

/** @see OpenAccount.share */
export async function share(
  bench: Workbench,
  filling: Filling,
  options: ShareOptions,
  ready: OnShared,
  on: OnEvent,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const { clock, roster, ui } = bench;
  bench.prepare(options);
  const [catalogue, omemo] = await Promise.all([
    filling.catalogue,
    bench.ready(options.verifiedOnly, 'request', 'resume'),
  ]);
  warmUp();
  const may = (jid: Jid) =>
    options.to.some((named) => named.sameBare(jid)) || (options.contacts && roster.sees(jid));
  const plain = (jid: Jid) => options.plain.some((named) => named.sameBare(jid));
  const deals = (jid: Jid) => may(jid) || plain(jid);
  const live = new LiveTransfers();
  const left = { count: options.count ?? Infinity };
  const holder = new Holder(
    bench.surroundings(options),
    {
      may: deals,
      plain,
      goesOn: {
        // What was taken back in the meantime is not gone on with; for whom it was, nobody is there.
        allows: ({ options: { kind }, sha256 }) => {
          if (kind !== 'share') return true;
          const digest = Buffer.from(sha256 ?? '', 'hex');
          return catalogue.find({ algorithm: 'sha-256', digest }) !== undefined;
        },
      },
      find: (request) => Promise.resolve(find(catalogue, request)),
      on,
      ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
      opened: acknowledging(bench, omemo),
      ended: (_exit, taken) => {
        if (taken) left.count -= 1;
        if (left.count <= 0) waiting.ended(Exit.done);
      },
      refused: refusing(bench, 'request'),
    },
    live,
  );
  const { wait, until } = options;
  const waiting = new Waiting(clock, { wait, once: true }, signal, () => live.busy);
  // Nothing new is taken here; but who was sending a file may go on with it.
  const receiver = new Receiver(
    bench.surroundings(options),
    {
      onConflict: 'rename',
      decide: () => Promise.resolve(false),
      on,
      say: (code, message) => ui.notice(code, message),
      skipped: () => undefined,
      ended: () => undefined,
      refused: refusing(bench, 'offer'),
    },
    live,
  );
  answer(bench, receiver, holder);
  let ended = false;
  const list = async () => {
    const { device } = omemo;
    let files: SharedFile[] = [];
    for (const entry of catalogue.entries()) {
      if (files.push(sharedFile(entry)) < LISTED) continue;
      await ready(files, device);
      files = [];
      // Very many are no reason to keep those waiting who ask already.
      await setImmediate();
      if (ended) return;
    }
    await ready(files, device);
  };
  const over =
    until === undefined
      ? () => undefined
      : clock.after(until - clock.now(), () => waiting.ended(Exit.done));
  try {
    return await attend(bench, {
      ...{ what: 'requests', named: [...options.to, ...options.plain], deals },
      ...{ waiting, live, on, signal },
      online: () => void list(),
    });
  } finally {
    ended = true;
    over();
    await Promise.all([holder.stop(), receiver.stop()]);
  }
}

/** One path whether there is such a file or not: what is looked up says nothing by the time it takes. */
function find(catalogue: Catalogue, { file, list }: Request): Held | undefined {
  if (list) {
    const bytes = writeList([...catalogue.entries()].map(listed));
    return {
      file: { name: LIST_NAME, size: bytes.length, hashes: [], hashUsed: [] },
      open: () => Promise.resolve(memoryBytes(bytes)),
    };
  }
  const entry = file.hashes
    .map((hash) => catalogue.find(hash))
    .find((found) => found !== undefined);
  if (entry === undefined) return undefined;
  const { name, size } = sharedFile(entry);
  return {
    file: {
      name: name.split('/').at(-1) ?? name,
      size,
      date: dateOf(entry),
      hashes: [],
      hashUsed: [],
    },
    sha256: entry.digest('sha-256'),
    source: entry,
    open: () => catalogue.open(entry),
  };
}

function sharedFile(entry: CatalogueEntry): SharedFile {
  const { path, name, identity } = entry;
  return {
    path,
    name,
    size: Number(identity.size),
    sha256: entry.digest('sha-256').toString('hex'),
  };
}

function listed(entry: CatalogueEntry) {
  return { ...sharedFile(entry), date: dateOf(entry) };
}

function dateOf({ identity }: CatalogueEntry): Date {
  return new Date(Number(identity.mtimeNs / 1_000_000n));
}
