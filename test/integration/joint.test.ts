/** Several files in one session, and what a hostile server makes of that: real processes over a real server. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse, xml, type Element } from '../../src/xmpp/xml.ts';
import {
  all,
  copy,
  honest,
  inside,
  jingleOf,
  replace,
  setScene,
  strike,
  strikeBack,
  strip,
  type Scene,
} from '../support/hostile.ts';
import { RATE } from '../support/interrupting.ts';
import { ended, linesOf, noise, type Ended } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

/** What passes of Jingle, in order. */
interface Passed {
  readonly from: 'alice' | 'bob';
  readonly action: string;
  readonly jingle: Element;
}

describe.skipIf(!(await hasProsody()))('several files in one session', () => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await setScene();
  });
  afterAll(() => scene.close());

  /** Sends files of these sizes, `a` and so on; tells what passed, and which of them landed whole. */
  async function send(
    sizes: readonly number[],
    { args = [], rewrite = honest }: { args?: readonly string[]; rewrite?: Rewrite } = {},
  ): Promise<{ sent: Ended; passed: Passed[]; landed: string[]; told: string }> {
    const { pair, relay, receiver } = scene;
    const passed: Passed[] = [];
    relay.reset();
    relay.rewrite = (stanza, way) => {
      const jingle = way.direction === 'up' ? jingleOf(stanza) : undefined;
      const from = way.account.startsWith('alice') ? 'alice' : 'bob';
      if (jingle) passed.push({ from, action: jingle.attrs['action'] ?? '', jingle: copy(jingle) });
      return rewrite(stanza, way);
    };
    const names = sizes.map((_, n) => String.fromCharCode(97 + n));
    const contents = sizes.map((size) => noise(size));
    const files = await Promise.all(
      names.map((name, n) => pair.file(name, contents[n] ?? Buffer.alloc(0))),
    );
    const said = receiver.stderr.length;
    try {
      const sent = await ended(pair.send(files, args));
      // The receiver's last words may be behind the sender's.
      const offers = () => linesOf(receiver.stdout);
      const over = () =>
        offers().filter(({ event }) => event === 'offer').length ===
        offers().filter(({ event }) => event === 'end').length;
      await receiver.until(over, 'the ends');
      const found = await pair.landed();
      for (const name of found.filter((one) => names.includes(one)))
        expect(await readFile(join(pair.out, name))).toEqual(contents[names.indexOf(name)]);
      for (const name of found) await rm(join(pair.out, name));
      return { sent, passed, landed: found, told: sent.stderr + receiver.stderr.slice(said) };
    } finally {
      relay.rewrite = honest;
    }
  }

  const count = (passed: readonly Passed[], from: Passed['from'], action: string) =>
    passed.filter((one) => one.from === from && one.action === action).length;

  test.each([[[]], [['--route', 'ibb']], [['--route', 'proxy']]])(
    'travel as a content each, with a secret and a transport of its own, three at once (%j)',
    async (args) => {
      const { sent, passed, landed, told } = await send(
        [40_000, 70_000, 0, 50_000, 60_000, 1_500_000],
        { args },
      );
      expect(sent.status, told).toBe(0);
      expect(landed).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
      const ends = sent.events.filter(({ event }) => event === 'end');
      expect(ends.map(({ status }) => status)).toEqual(Array(6).fill('verified'));
      expect(new Set(passed.map(({ jingle }) => jingle.attrs['sid'])).size).toBe(1);
      expect(
        ['session-initiate', 'content-add', 'session-terminate'].map((action) =>
          count(passed, 'alice', action),
        ),
      ).toEqual([1, 5, 1]);
      expect(
        ['session-accept', 'content-accept', 'content-remove', 'session-terminate'].map((action) =>
          count(passed, 'bob', action),
        ),
      ).toEqual([1, 5, 6, 0]);
      const offered = passed.filter(({ action }) => /initiate|content-add/.test(action));
      const own = (element: string, attribute: string) =>
        new Set(offered.map(({ jingle }) => inside(jingle, element).attrs[attribute]));
      expect([own('content', 'name').size, own('transport', 'sid').size]).toEqual([6, 6]);
      const envelopes = offered.map(({ jingle }) => inside(jingle, 'security').toString());
      expect(new Set(envelopes).size).toBe(6);
      let open = 0;
      for (const { action } of passed) {
        if (/initiate|content-add/.test(action)) open++;
        if (action === 'content-remove') open--;
        expect(open).toBeLessThanOrEqual(3);
      }
    },
  );

  test('of which one is refused land but for that one, and it is named', async () => {
    await scene.receive('--max-size', '100k');
    try {
      for (const [sizes, refused] of [
        [[20_000, 200_000, 30_000, 40_000], 'b'],
        [[200_000, 20_000, 30_000, 40_000], 'a'],
      ] as const) {
        const { sent, landed, passed } = await send(sizes);
        expect(sent.status, sent.stderr).toBe(10);
        expect(landed).toEqual(['a', 'b', 'c', 'd'].filter((name) => name !== refused));
        const last = sent.stderr.trimEnd().split('\n').at(-1);
        expect(last).toMatch(new RegExp(`1 of 4 did not reach bob[^ ]*: ${refused}\\.$`));
        // The refusal of the first content is that of its session.
        const sids = new Set(passed.map(({ jingle }) => jingle.attrs['sid']));
        expect(sids.size).toBe(refused === 'a' ? 2 : 1);
        expect(count(passed, 'bob', 'content-reject')).toBe(refused === 'a' ? 0 : 1);
      }
    } finally {
      await scene.receive();
    }
  });

  test('go on by themselves when the receiver was killed under them', async () => {
    const { pair } = scene;
    const contents = [noise(3_000_000), noise(20_000), noise(30_000)];
    const files = await Promise.all(contents.map((bytes, n) => pair.file(`k${n}`, bytes)));
    const sender = pair.send(files, RATE);
    await sender.said(/"event":"progress".*"bytes":[1-9][0-9]{6}/);
    scene.receiver.child.kill('SIGKILL');
    await scene.receiver.ended;
    scene.receiver = pair.bob.start(['receive', '--yes', '--json', '--out', pair.out], {
      guard: 1_800_000,
    });
    const sent = await ended(sender);
    expect(sent.status, sent.stderr).toBe(0);
    for (const [n, bytes] of contents.entries())
      expect((await readFile(join(pair.out, `k${n}`))).equals(bytes)).toBe(true);
    for (const name of await pair.landed()) await rm(join(pair.out, name));
  });

  test('are given up together by Ctrl-C, and all of them can be resumed', async () => {
    const { pair, receiver } = scene;
    const contents = [noise(6_000_000), noise(6_000_001)];
    const files = await Promise.all(contents.map((bytes, n) => pair.file(`c${n}`, bytes)));
    const sender = pair.send(files, ['--route', 'ibb']);
    await sender.said(/c0.*"bytes":[1-9][0-9]{5}/);
    await sender.said(/c1.*"bytes":[1-9][0-9]{5}/);
    sender.child.kill('SIGINT');
    expect((await sender.ended).status).not.toBe(0);
    const resumed = await pair.alice.run(['resume']);
    expect(resumed.status, resumed.stderr).toBe(0);
    await receiver.until(
      () =>
        /c0 from .*: verified/.test(receiver.stderr) &&
        /c1 from .*: verified/.test(receiver.stderr),
      'both',
    );
    for (const [n, bytes] of contents.entries())
      expect((await readFile(join(pair.out, `c${n}`))).equals(bytes)).toBe(true);
    for (const name of await pair.landed()) await rm(join(pair.out, name));
  });

  describe('under a hostile server', () => {
    const sizes = [30_000, 40_000, 50_000];

    test('a content that is added again, under its name or another, lands nothing', async () => {
      let twice = 0;
      const again = strike('content-add', (_, stanza) => {
        const same = copy(stanza);
        same.attrs['id'] = `again-${twice++}`;
        const other = copy(stanza);
        other.attrs['id'] = `other-${twice}`;
        inside(other, 'content').attrs['name'] = `other-${twice}`;
        return [stanza, same, other];
      });
      const { sent, landed, told } = await send(sizes, { rewrite: again });
      expect(twice).toBeGreaterThan(0);
      expect(sent.status, told).toBe(0);
      expect(landed).toEqual(['a', 'b', 'c']);
    });

    test('contents under other names land nowhere, and the sender knows', async () => {
      const masks = new Map<string, string>();
      const swap: Rewrite = (stanza, { account, direction }) => {
        if (!account.startsWith('bob')) return stanza;
        const added = direction === 'down' ? jingleOf(stanza, 'content-add') : undefined;
        const name = added && inside(added, 'content').attrs['name'];
        if (name) masks.set(name, `other-${masks.size}`);
        let text = stanza.toString();
        for (const [real, mask] of masks)
          text = direction === 'down' ? text.replaceAll(real, mask) : text.replaceAll(mask, real);
        return parse(text) ?? stanza;
      };
      const { sent, landed, told } = await send(sizes, { rewrite: swap });
      expect(masks.size).toBeGreaterThan(0);
      expect(sent.status, told).toBe(10);
      expect(landed).toEqual(['a']);
      expect(sent.stderr).toMatch(/does not trust this device, or what protects the file/);
    });

    test('the end of a content that is forged as a success is none', async () => {
      let forged = 0;
      // In place of the accept of a content: its end.
      const forge = strikeBack('content-accept', (_, stanza) => {
        const end = copy(stanza);
        const made = inside(end, 'jingle');
        made.attrs['action'] = 'content-remove';
        const [content] = all(made, 'content');
        if (content) content.children = [];
        made.append(xml('reason', {}, xml('success', {})));
        forged++;
        return [end];
      });
      const { sent, told } = await send(sizes, { rewrite: forge });
      expect(forged).toBeGreaterThan(0);
      expect(sent.status, told).not.toBe(0);
      const ends = sent.events.filter(({ event }) => event === 'end');
      expect(ends.filter(({ status }) => status === 'verified')).toHaveLength(3 - forged);
    });

    test('a success of a content without its receipt is none', async () => {
      let stripped = 0;
      const withhold: Rewrite = (stanza, way) => {
        const down = way.direction === 'down' && way.account.startsWith('alice');
        const jingle = down ? jingleOf(stanza) : undefined;
        if (
          jingle &&
          all(jingle, 'received').length > 0 &&
          jingle.attrs['action'] !== 'session-accept'
        ) {
          strip(jingle, 'received');
          stripped++;
        }
        return stanza;
      };
      const { sent, told } = await send(sizes, { rewrite: withhold });
      expect(stripped).toBeGreaterThan(0);
      expect(sent.status, told).not.toBe(0);
      expect(sent.stderr).toMatch(/its sealed receipt is missing/);
      const ends = sent.events.filter(({ event }) => event === 'end');
      expect(ends.map(({ status }) => status)).toEqual(['failed', 'failed', 'failed']);
    });

    test('the receipt of one content is none for another', async () => {
      const receipts = new Map<string, Element>();
      const exchange: Rewrite = (stanza, way) => {
        const down = way.direction === 'down' && way.account.startsWith('alice');
        const jingle = down ? jingleOf(stanza) : undefined;
        const received = jingle && all(jingle, 'received')[0];
        if (received === undefined) return stanza;
        const name = received.attrs['name'] ?? '';
        if (!receipts.has(name)) receipts.set(name, copy(received));
        const [first, one] = [...receipts][0] ?? [];
        if (one !== undefined && first !== name)
          replace(inside(received, 'sealed'), copy(inside(one, 'sealed')));
        return stanza;
      };
      const { sent, told } = await send(sizes, { rewrite: exchange });
      expect(receipts.size).toBeGreaterThan(1);
      expect(sent.status, told).toBe(10);
      const ends = sent.events.filter(({ event }) => event === 'end');
      expect(ends.filter(({ status }) => status === 'verified')).toHaveLength(1);
    });
  });
});
