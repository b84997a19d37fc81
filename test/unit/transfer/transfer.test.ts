/** Whole transfers, both sides in this process: what they check, wipe, ask of a silent peer, and how fast they end. */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Element } from '@xmpp/xml';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { FILE_TRANSFER } from '../../../src/jingle/file-description.ts';
import { HASHES } from '../../../src/jingle/hashes.ts';
import { JINGLE } from '../../../src/jingle/stanza.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { settle } from '../../support/clock.ts';
import { Staging } from '../../../src/files/staging.ts';
import type { Sendable } from '../../../src/transfer/send.ts';
import { writeTree } from '../../../src/transfer/tree/tree-list.ts';
import { createExchange } from '../../support/exchange.ts';

const IBB = 'http://jabber.org/protocol/ibb';
const bytes = randomBytes(300_000);

/** The `<jingle/>` of a request, if its action is this one. */
function action(stanza: Element, name: string): Element | undefined {
  const jingle = stanza.getChild('jingle', JINGLE);
  return jingle?.attrs['action'] === name && stanza.attrs['type'] === 'set' ? jingle : undefined;
}

/** The `<file/>` of an offer. */
function fileOf(stanza: Element): Element | undefined {
  return action(stanza, 'session-initiate')
    ?.getChild('content')
    ?.getChild('description', FILE_TRANSFER)
    ?.getChild('file');
}

const hash = (algo: string, digest: string) => xml('hash', { xmlns: HASHES, algo }, digest);
const digestOf = (node: string, what = bytes) => createHash(node).update(what).digest('base64');
const STRONG = [
  ['sha-256', 'sha256'],
  ['sha-512', 'sha512'],
  ['sha3-256', 'sha3-256'],
  ['sha3-512', 'sha3-512'],
  ['blake2b-512', 'blake2b512'],
] as const;

describe('hashes of another client’s offer', () => {
  /** Sends with an offer that names no hash but those given, and no checksum after it. */
  async function offered(...children: Element[]) {
    const exchange = await createExchange();
    exchange.network.tap((stanza) => {
      const file = fileOf(stanza);
      if (file !== undefined) {
        file.children = file.children.filter(
          (child) => typeof child === 'string' || child.getNS() !== HASHES,
        );
        file.append(...children);
      }
      return undefined;
    });
    const exit = await exchange.send(bytes);
    await exchange.bob.told('end');
    const names = await readdir(exchange.folder);
    return { ...exchange, exit, names };
  }

  test.each(STRONG)('%s is compared: the right one lands', async (algo, node) => {
    const { exit, folder } = await offered(hash(algo, digestOf(node)));
    expect(exit).toBe(0);
    expect((await readFile(join(folder, 'source (1).bin'))).equals(bytes)).toBe(true);
  });

  test.each(STRONG)('%s is compared: a wrong one does not', async (algo, node) => {
    const right = hash('sha-256', digestOf('sha256'));
    const { exit, names, bob } = await offered(
      ...(algo === 'sha-256' ? [] : [right]),
      hash(algo, digestOf(node, Buffer.from('other'))),
    );
    expect(exit).not.toBe(0);
    expect(names).toEqual(['source.bin']);
    expect(bob.events.at(-1)).toMatchObject({ event: 'error', code: 'hash-mismatch', exit: 6 });
  });

  test('SHA-1 proves nothing, and is compared with nothing', async () => {
    const { exit } = await offered(hash('sha-1', digestOf('sha1', Buffer.from('other'))));
    expect(exit).toBe(0);
  });

  test('a checksum of the function that was promised is compared, too', async () => {
    for (const [content, status] of [
      [bytes, 'verified'],
      [Buffer.from('other'), 'failed'],
    ] as const) {
      const { network, send, bob } = await createExchange();
      network.tap((stanza) => {
        fileOf(stanza)?.append(xml('hash-used', { xmlns: HASHES, algo: 'sha-512' }));
        const checksum = action(stanza, 'session-info')?.getChild('checksum', FILE_TRANSFER);
        const file = checksum?.getChild('file');
        if (file) file.children = [hash('sha-512', digestOf('sha512', content))];
        return undefined;
      });
      await send(bytes);
      expect(await bob.told('end')).toMatchObject({ status });
    }
  });
});

describe('a range in another client’s offer', () => {
  test.each([
    ['empty', {}],
    ['from the start to the end', { offset: '0', length: '300000' }],
  ])('%s is the whole file, and so are its hashes', async (_name, attrs) => {
    for (const [content, exit] of [
      [bytes, 0],
      [Buffer.from('other'), 9],
    ] as const) {
      const { network, send } = await createExchange();
      network.tap((stanza) => {
        const digest = hash('sha-512', digestOf('sha512', content));
        fileOf(stanza)?.append(xml('range', attrs, digest));
        return undefined;
      });
      expect((await send(bytes)) === 0).toBe(exit === 0);
    }
  });

  test.each([
    ['not from the start', { offset: '1' }],
    ['not to the end', { length: '299999' }],
    ['beyond the end', { offset: '0', length: '300001' }],
  ])('%s is refused before a byte moves', async (_name, attrs) => {
    const { network, send, refused, folder } = await createExchange();
    let moved = false;
    network.tap((stanza) => {
      fileOf(stanza)?.append(xml('range', attrs));
      moved ||= stanza.getChild('data', IBB) !== undefined;
      return undefined;
    });
    expect(await send(bytes)).not.toBe(0);
    expect(refused).toEqual(['it offered only a part of a file']);
    expect(moved).toBe(false);
    expect(await readdir(folder)).toEqual(['source.bin']);
  });

  test('is left out of our accept: the file comes from its start', async () => {
    const { network, send } = await createExchange();
    let accept: Element | undefined;
    network.tap((stanza) => {
      fileOf(stanza)?.append(xml('range'));
      accept ??= action(stanza, 'session-accept');
      return undefined;
    });
    expect(await send(bytes)).toBe(0);
    expect(accept?.toString()).toContain('<size>300000</size>');
    expect(accept?.toString()).not.toContain('<range');
  });
});

describe('XEP-0391 §3', () => {
  test('§3 MUST: the secret is kept until the session ends, then wiped, on both sides', async () => {
    const { alice, bob, send, network } = await createExchange();
    const seen: Buffer[] = [];
    network.tap((stanza) => {
      // The last that is said before both are done: until then both still have it.
      if (action(stanza, 'session-terminate'))
        for (const { secrets } of [alice, bob])
          for (const { key, iv } of secrets) seen.push(Buffer.concat([key, iv]));
      return undefined;
    });
    expect(await send(bytes)).toBe(0);
    await bob.told('end');
    await settle();
    expect(seen).toHaveLength(2);
    expect(seen[0]?.equals(Buffer.alloc(28))).toBe(false);
    expect(seen[1]?.equals(seen[0] ?? Buffer.alloc(0))).toBe(true);
    for (const { secrets } of [alice, bob])
      for (const { key, iv } of secrets) expect(Buffer.concat([key, iv])).toEqual(Buffer.alloc(28));
  });

  test('§3: it is wiped as well when a transfer is cancelled', async () => {
    const { alice, bob, send, network } = await createExchange();
    const stop = new AbortController();
    network.tap((stanza) => {
      if (stanza.getChild('data', IBB) !== undefined) stop.abort(new Error('enough'));
      return undefined;
    });
    expect(await send(bytes, { signal: stop.signal })).not.toBe(0);
    await bob.told('end');
    await settle();
    for (const { secrets } of [alice, bob]) {
      expect(secrets).toHaveLength(1);
      for (const { key, iv } of secrets) expect(Buffer.concat([key, iv])).toEqual(Buffer.alloc(28));
    }
  });
});

describe('a peer that is silent', () => {
  const isProbe = (stanza: Element) =>
    action(stanza, 'session-info') !== undefined && stanza.attrs['from'] === 'alice@a.test/one';

  test('while bytes flow it is asked for a sign of life after a minute, and given up without one', async () => {
    const { alice, bob, send, network, clock } = await createExchange();
    const asked: number[] = [];
    let silent = false;
    let flow: () => void = () => undefined;
    const flowing = new Promise<void>((resolve) => (flow = resolve));
    network.tap((stanza) => {
      if (isProbe(stanza)) asked.push(clock.monotonic());
      if (stanza.getChild('data', IBB) !== undefined) {
        silent = true;
        flow();
      }
      return silent && stanza.attrs['to'] === bob.connection.jid.toString() ? 'drop' : undefined;
    });
    const sent = send(bytes);
    // The file is a real one: its first bytes leave when the disk gives them.
    await flowing;
    await settle();
    await clock.advance(59_999);
    expect(asked).toEqual([]);
    await clock.advance(1);
    expect(asked).toEqual([60_000]);
    // A minute for its answer, ten seconds for that of the farewell.
    await clock.advance(70_000);
    expect(await sent).toBe(7);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', exit: 7 });
  });

  test('one that answers is waited for, and asked again only after another minute', async () => {
    const { alice, send, network, clock } = await createExchange();
    const stop = new AbortController();
    let asked = 0;
    let flow: () => void = () => undefined;
    const flowing = new Promise<void>((resolve) => (flow = resolve));
    network.tap((stanza) => {
      if (isProbe(stanza)) asked += 1;
      if (stanza.getChild('data', IBB) === undefined) return undefined;
      flow();
      return 'drop';
    });
    const sent = send(bytes, { signal: stop.signal });
    await flowing;
    await settle();
    await clock.advance(61_000);
    expect(asked).toBe(1);
    expect(alice.events.some(({ event }) => event === 'end')).toBe(false);
    stop.abort(new Error('enough'));
    await clock.advance(0);
    expect(await sent).toBe(7);
  });
});

describe('a jet that lands what came', () => {
  /** A batch of empty files. */
  function batch(count: number): Sendable {
    const entries = Array.from({ length: count }, (_, n) => ({
      ...({ kind: 'file', path: `f${n}`, size: 0, mode: 0o644, mtime: 0 } as const),
    }));
    const { bytes: list, head } = writeTree(entries, true);
    const stream = Buffer.concat([list, Buffer.alloc(head.files, '1')]);
    return {
      ...{ name: 'f0', size: stream.length, mtime: new Date(0), tree: head },
      async *read(from, to) {
        await Promise.resolve();
        yield Buffer.from(stream.subarray(from, to));
      },
      close: () => Promise.resolve(),
    };
  }

  /** A sender that has sent all, to one whose disk never comes to an end; or that is killed then. */
  async function waiting(count: number, killed = false) {
    const exchange = await createExchange({ sealed: true });
    const { network, clock, bob } = exchange;
    vi.spyOn(Staging.prototype, 'settle').mockReturnValue(new Promise(() => undefined));
    onTestFinished(() => void vi.restoreAllMocks());
    const asked: number[] = [];
    let [all, over] = [false, false];
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    network.tap((stanza) => {
      const mine = stanza.attrs['from'] === bob.connection.jid.toString();
      const info = mine ? undefined : action(stanza, 'session-info');
      if (info?.getChild('checksum', FILE_TRANSFER) !== undefined) {
        all = true;
        reach();
      } else if (all && info !== undefined) asked.push(clock.monotonic());
      return all && mine && killed ? 'drop' : undefined;
    });
    const sent = exchange.offer(batch(count));
    void sent.then(() => (over = true));
    await reached;
    await settle();
    return { ...exchange, sent, asked, isOver: () => over };
  }

  test('is asked whether it is still there, and waited for for two minutes and a while for each file', async () => {
    const { clock, asked, sent, isOver, alice } = await waiting(200);
    await clock.advance(129_999);
    expect(asked).toEqual([20_000, 40_000, 60_000, 80_000, 100_000, 120_000]);
    expect(isOver()).toBe(false);
    await clock.advance(60_000);
    expect(await sent).toBe(7);
    expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'timeout' });
  });

  test('is given up when it does not answer', async () => {
    const { clock, asked, sent } = await waiting(200, true);
    await clock.advance(20_000);
    expect(asked).toEqual([20_000]);
    await clock.advance(75_000);
    expect(await sent).toBe(7);
  });
});

describe('an interrupt', () => {
  test.each(['the offer is out', 'bytes flow'])(
    'to the sender whose peer is silent takes two seconds when %s',
    async (when) => {
      const { alice, bob, send, clock, network } = await createExchange();
      const stop = new AbortController();
      let said = false;
      let reach: () => void = () => undefined;
      const reached = new Promise<void>((resolve) => (reach = resolve));
      const mark = when === 'bytes flow' ? 'data' : 'jingle';
      network.tap((stanza) => {
        if (stanza.toString().includes(`<${mark} `)) reach();
        if (stanza.getChild('data', IBB) !== undefined) bob.connection.freeze();
        said ||= action(stanza, 'session-terminate') !== undefined;
        return undefined;
      });
      if (when === 'the offer is out') bob.connection.freeze();
      const sent = send(bytes, { signal: stop.signal });
      let over = false;
      void sent.then(() => (over = true));
      await reached;
      await settle();
      stop.abort(new Error('Ctrl-C'));
      await clock.advance(1_999);
      expect(said).toBe(true);
      expect(over).toBe(false);
      await clock.advance(1);
      expect(await sent).toBe(7);
      expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'cancelled' });
    },
  );

  test('to the receiver whose peer is silent takes two seconds', async () => {
    const { alice, bob, send, clock, network, receiver } = await createExchange();
    let flow: () => void = () => undefined;
    const flowing = new Promise<void>((resolve) => (flow = resolve));
    network.tap((stanza) => {
      if (stanza.getChild('data', IBB) === undefined) return undefined;
      alice.connection.freeze();
      flow();
      return undefined;
    });
    void send(bytes).catch(() => undefined);
    await flowing;
    await settle();
    let over = false;
    const stopped = receiver.stop().then(() => (over = true));
    await clock.advance(1_999);
    expect(over).toBe(false);
    await clock.advance(1);
    await stopped;
    expect(bob.events.at(-1)).toMatchObject({ event: 'error', code: 'cancelled' });
    // The sender's own waits end, too.
    await clock.advance(300_000);
  });

  test('to a sender whose peer answers takes no time', async () => {
    const { send, clock, network } = await createExchange();
    const stop = new AbortController();
    network.tap((stanza) => {
      if (stanza.getChild('data', IBB) !== undefined) stop.abort(new Error('Ctrl-C'));
      return undefined;
    });
    expect(await send(bytes, { signal: stop.signal })).toBe(7);
    expect(clock.monotonic()).toBe(0);
  });
});
