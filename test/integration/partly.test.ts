/** Many files in one content of which some do not land: both sides say which. Real processes over a real server. */
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { xml } from '../../src/xmpp/xml.ts';
import {
  flipBit,
  inside,
  replace,
  strikeBack,
  strip,
  together,
  type Change,
} from '../support/hostile.ts';
import { ended, linesOf, makePair, noise, type Ended, type Pair } from '../support/pair.ts';
import { killUnheard } from '../support/interrupting.ts';
import { terminate } from '../support/people.ts';
import { BOUND, canBind } from '../support/permissions.ts';
import { hasProsody } from '../support/prosody.ts';
import { RewritingRelay, type Rewrite } from '../support/rewriting-relay.ts';
import { tappedProxy } from '../support/tapped-proxy.ts';

/** Bytes of each file, and more than the list, what became of the files, tags and handshakes have together. */
const SIZE = 20_000;
const FRAME = 8_000;
const COUNT = 10;
const NAMES = Array.from({ length: COUNT }, (_, n) => `${n}.txt`);
/** Of a folder there are two more, in a folder of their own. */
const INNER = ['in/a.txt', 'in/b.txt'];

type Kind = 'folder' | 'batch';

interface Case {
  readonly kind: Kind;
  /** What is in the way. */
  readonly what: string;
  readonly args?: readonly string[];
  /** Puts it there: where the files come to lie. */
  readonly prepare: (there: string) => Promise<unknown>;
  /** Takes it away. */
  readonly clear: (there: string) => Promise<unknown>;
  /** What does not land, in the order of the list. */
  readonly lost: readonly string[];
}

const conflict = (policy: string) => ['--on-conflict', policy];
const takes = (name: string) => (there: string) => writeFile(join(there, name), 'mine');
const frees = (name: string) => (there: string) => rm(join(there, name), { recursive: true });
const closes = (name: string, mode: number) => async (there: string) => {
  await mkdir(join(there, name), { recursive: true });
  await chmod(join(there, name), mode);
};

/** For a folder and for a batch alike. */
const both = (kind: Kind): Case[] => [
  {
    ...{ kind, what: 'a file, and nothing is to be replaced', args: conflict('fail') },
    ...{ prepare: takes('3.txt'), clear: frees('3.txt'), lost: ['3.txt'] },
  },
  {
    ...{ kind, what: 'a file that is to be kept', args: conflict('skip') },
    ...{ prepare: takes('3.txt'), clear: frees('3.txt'), lost: ['3.txt'] },
  },
  {
    ...{ kind, what: 'a folder where a file has to be', args: conflict('overwrite') },
    ...{ prepare: closes('3.txt', 0o755), clear: frees('3.txt'), lost: ['3.txt'] },
  },
  {
    ...{ kind, what: 'a file at every name', args: conflict('fail'), lost: NAMES },
    prepare: async (there) => Promise.all(NAMES.map((name) => takes(name)(there))),
    clear: async (there) => Promise.all(NAMES.map((name) => frees(name)(there))),
  },
];
const CASES: readonly Case[] = [
  ...both('batch'),
  ...both('folder'),
  {
    ...{ kind: 'folder', what: 'a file where a folder has to be' },
    ...{ prepare: takes('in'), clear: frees('in'), lost: ['in', ...INNER] },
  },
  ...(canBind
    ? [
        {
          ...{ kind: 'folder' as const, what: 'a folder that may not be written to' },
          ...{ prepare: closes('in', 0o555), clear: closes('in', 0o755), lost: INNER },
        },
      ]
    : []),
];

describe.skipIf(!(await hasProsody()) || process.platform !== 'linux')('of many files', () => {
  const tapped = tappedProxy();
  let pair: Pair;
  let relay: RewritingRelay | undefined;

  beforeEach(async () => {
    pair = await makePair(tapped.server());
    relay = undefined;
  });
  afterEach(async () => {
    await pair.remove();
    await relay?.stop();
  });

  /** Files that are named one by one, or a folder; gives what is named. */
  async function make(kind: Kind): Promise<readonly string[]> {
    const paths = [];
    for (const name of kind === 'folder' ? [...NAMES, ...INNER] : NAMES)
      paths.push(await pair.file(`from/${name}`, noise(SIZE)));
    return kind === 'folder' ? [dirname(paths[0] ?? '')] : paths;
  }
  const from = (name: string) => join(dirname(pair.out), 'from', name);
  const thereOf = (kind: Kind) => (kind === 'folder' ? join(pair.out, 'from') : pair.out);

  /** One send to a receiver that ends with it. */
  async function exchange(
    items: readonly string[],
    args: readonly string[] = [],
    send: readonly string[] = [],
  ): Promise<{ readonly sent: Ended; readonly received: Ended }> {
    const receiving = ['receive', '--yes', '--json', '--once', '--out', pair.out, ...args];
    const receiver = pair.bob.start(receiving, canBind ? { prefix: BOUND } : {});
    await receiver.said(/"event":"waiting"/);
    const sent = await ended(pair.send(items, send));
    return { sent, received: await ended(receiver) };
  }

  /** Every file but those lies there as it was sent. */
  async function lies(kind: Kind, except: readonly string[] = []): Promise<void> {
    for (const name of kind === 'folder' ? [...NAMES, ...INNER] : NAMES) {
      if (except.includes(name)) continue;
      const bytes = await readFile(join(thereOf(kind), name));
      expect(bytes.equals(await readFile(from(name))), name).toBe(true);
    }
    const names = await readdir(thereOf(kind), { recursive: true });
    expect(names.filter((name) => /part|\(/.test(name))).toEqual([]);
  }

  const lastLine = ({ stderr }: Ended) => stderr.trimEnd().split('\n').at(-1) ?? '';

  test.each(CASES)(
    'in a $kind both sides say what did not land: $what',
    async ({ kind, args = [], prepare, clear, lost }) => {
      const items = await make(kind);
      const there = thereOf(kind);
      await mkdir(there, { recursive: true });
      await prepare(there);
      const { sent, received } = await exchange(items, args);
      expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([10, 10]);
      const count = lost.length;
      const offered = lost.map((name) => (kind === 'folder' ? `from/${name}` : name));
      const end = { event: 'end', status: 'partial', exit: 10 };
      expect(sent.event('end')).toMatchObject({
        ...end,
        missing: { count, paths: lost.map((name) => from(name)) },
      });
      expect(received.event('end')).toMatchObject({ ...end, missing: { count, paths: offered } });
      expect(lastLine(sent)).toMatch(/^jet: Of [^ ].*, \d+ did not land at bob[^ ]*: /);
      for (const name of lost) expect(lastLine(sent)).toContain(from(name));
      for (const name of offered) {
        expect(lastLine(received)).toContain(name);
        expect(received.stderr).toContain(`Not made: ${name}: `);
      }
      for (const home of [pair.alice, pair.bob]) {
        const { stdout } = await home.run(['transfers', '--json']);
        const row = { state: 'done', status: 'partial', exit: 10, error: 'some-missing' };
        expect(linesOf(stdout)).toMatchObject([row]);
        expect((await home.run(['transfers'])).stdout).toMatch(/: done in part$/m);
      }
      await lies(kind, lost);

      // A second run has nothing to send but what is missing.
      await clear(there);
      const receiver = pair.receive(['--once', ...args]);
      await receiver.said(/"event":"waiting"/);
      const { passed } = await tapped.send(pair, items);
      const bytes = lost.filter((name) => name.endsWith('.txt')).length * SIZE;
      expect(passed).toBeGreaterThan(bytes);
      expect(passed).toBeLessThan(bytes + FRAME);
      expect((await receiver.ended).status).toBe(0);
      await lies(kind);
    },
  );

  test('a second run while it is still in the way says the same', async () => {
    const items = await make('batch');
    await writeFile(join(pair.out, '3.txt'), 'mine');
    const first = await exchange(items, conflict('skip'));
    const second = await exchange(items, conflict('skip'));
    for (const { sent, received } of [first, second]) {
      expect([sent.status, received.status]).toEqual([10, 10]);
      expect(sent.event('end')).toMatchObject({ missing: { count: 1, paths: [from('3.txt')] } });
    }
    expect(await readFile(join(pair.out, '3.txt'), 'utf8')).toBe('mine');
    await lies('batch', ['3.txt']);
  });

  test('what has landed is on standard output, and what has not is named without its control characters', async () => {
    const strange = 'x\u001b[2J.txt';
    const items = [...(await make('batch')), await pair.file(`from/${strange}`, noise(10))];
    const first = await exchange(items);
    expect(first.sent.status, first.sent.stderr).toBe(0);
    await Promise.all((await pair.landed()).map((name) => writeFile(join(pair.out, name), 'mine')));
    await rm(join(pair.out, '4.txt'));
    const args = ['receive', '--yes', '--once', '--out', pair.out, ...conflict('fail')];
    const receiver = pair.bob.start(args);
    const sender = pair.alice.start(['send', '--wait', '60', ...items, pair.bob.jid]);
    const [sent, received] = [await sender.ended, await receiver.ended];
    expect([sent.status, received.status], sent.stderr).toEqual([10, 10]);
    expect(received.stdout).toBe(`${join(pair.out, '4.txt')}\n`);
    expect(sent.stdout).toBe('');
    for (const { stderr } of [sent, received]) {
      expect(stderr).toMatch(/, 10 did not land.*x.*\[2J\.txt/);
      expect(stderr).not.toContain('\u001b');
    }
  });

  test('some among other things: the last line counts and names them', async () => {
    const items = await make('batch');
    for (const name of ['3.txt', '8.txt']) await writeFile(join(pair.out, name), 'mine');
    const album = dirname(await pair.file('album/one', noise(10)));
    const { sent, received } = await exchange([...items, album], conflict('skip'));
    expect([sent.status, received.status], sent.stderr + received.stderr).toEqual([10, 10]);
    expect(lastLine(sent)).toBe(
      `jet: 2 of ${COUNT + 1} did not reach ${pair.bob.jid}: ${from('3.txt')}, ${from('8.txt')}.`,
    );
    expect(await pair.landed()).toContain('album');
  });

  test('gone on with by a sender that was killed before it heard of it, the same is said', async () => {
    const [folder = ''] = await make('folder');
    await pair.file('from/large', noise(12_000_000));
    const there = thereOf('folder');
    await mkdir(there);
    await writeFile(join(there, '3.txt'), 'mine');
    const receiver = await killUnheard(pair, folder, conflict('fail'));
    await receiver.said(/"status":"partial"/);
    const sent = await ended(pair.alice.start(['resume', '--json']));
    expect(sent, sent.stderr).toMatchObject({ status: 10 });
    const missing = { count: 1, paths: [from('3.txt')] };
    expect(sent.event('end')).toMatchObject({ status: 'partial', missing });
    expect(await terminate(receiver)).toBe(0);
    await lies('folder', ['3.txt']);
    expect(await readFile(join(there, '3.txt'), 'utf8')).toBe('mine');
  });

  describe('a hostile server', () => {
    test.each<[string, Change]>([
      ['takes the word away that some have not landed', (jingle) => strip(jingle, 'sealed')],
      ['changes it', (jingle) => flipBit(inside(jingle, 'sealed'))],
    ])('%s: nothing is believed', async (_what, change) => {
      const { sent } = await attacked(
        together(strikeBack('session-info', change), strikeBack('session-terminate', change)),
      );
      expect(sent.status, sent.stderr).toBe(6);
      expect(sent.event('end')).toMatchObject({ status: 'failed', exit: 6 });
      expect(sent.event('end')).not.toHaveProperty('missing');
    });

    test.each([
      ['the first', 'session-info'],
      ['the second', 'session-terminate'],
    ] as const)('takes %s of the two away: the other one says it', async (_what, action) => {
      const { sent } = await attacked(strikeBack(action, (jingle) => strip(jingle, 'sealed')));
      expect(sent.status, sent.stderr).toBe(10);
      expect(sent.event('end')).toMatchObject({ missing: { count: 1, paths: [from('3.txt')] } });
    });

    test('says another reason after it: it stands', async () => {
      const { sent } = await attacked(
        strikeBack('session-terminate', (jingle) => {
          replace(inside(jingle, 'success'), xml('general-error'));
          strip(jingle, 'received');
        }),
      );
      expect(sent.status, sent.stderr).toBe(10);
      expect(sent.event('end')).toMatchObject({ status: 'partial' });
    });

    async function attacked(rewrite: Rewrite) {
      await pair.remove();
      relay = await RewritingRelay.start(tapped.server());
      pair = await makePair(tapped.server(), relay.at);
      const items = await make('batch');
      await writeFile(join(pair.out, '3.txt'), 'mine');
      relay.rewrite = rewrite;
      const found = await exchange(items, conflict('skip'));
      expect(found.received.event('end')).toMatchObject({ status: 'partial', exit: 10 });
      await lies('batch', ['3.txt']);
      return found;
    }
  });
});
