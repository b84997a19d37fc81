/** A hostile server between a jet and one that has two devices: what discovery says, and where envelopes go. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { randomId } from '../../src/core/bytes.ts';
import { parse, type Element } from '../../src/xmpp/xml.ts';
import {
  GUARD_MS,
  all,
  attack,
  copy,
  honest,
  inside,
  jingleOf,
  replace,
  setScene,
  strip,
  type Scene,
} from '../support/hostile.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { ended, linesOf, noise } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const JET = 'urn:xmpp:jet-transfer:0';
const present = await hasProsody();

/** Changes what alice is told about the features of others that wait. */
function disco(change: (query: Element, form: Element) => void): Rewrite {
  return (stanza, { account, direction }) => {
    if (!account.startsWith('alice') || direction !== 'down') return stanza;
    // Without the hash nothing shows that what it stands for was changed.
    const caps = stanza.getChild('c', 'http://jabber.org/protocol/caps');
    if (caps) strip(stanza, 'c');
    const query = stanza.getChild('query', 'http://jabber.org/protocol/disco#info');
    const form = query?.getChild('x', 'jabber:x:data');
    if (query && form) change(query, form);
    return stanza;
  };
}

function withoutFeature(query: Element): void {
  query.children = query.children.filter(
    (one) => typeof one === 'string' || one.attrs['var'] !== JET,
  );
}
const withoutForm = (query: Element) => strip(query, 'x');
const naming = (device: string) =>
  disco((_, form) => {
    for (const field of all(form, 'field'))
      if (field.attrs['var'] === 'omemo-device') inside(field, 'value').children = [device];
  });

describe.skipIf(!present)('discovery', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await setScene();
  });
  afterAll(() => scene.close());

  test.each<[string, Rewrite]>([
    ['the feature', disco(withoutFeature)],
    ['the form', disco(withoutForm)],
    [
      'both',
      disco((query) => {
        withoutFeature(query);
        withoutForm(query);
      }),
    ],
    ['the device in the form', naming('')],
  ])('that hides %s of a known jet makes nobody send in plain', async (_, rewrite) => {
    const { sent, landed } = await attack(scene, rewrite, { unheard: true });
    expect([sent.status, landed], sent.stderr).toEqual([6, false]);
    expect(sent.stderr).toMatch(
      /bob0@jet\.test is known as a jet, but what is online there does not say so: somebody may be between\. Nothing was sent\..*jet trust --plain bob0@jet\.test [0-9a-f]{64}/,
    );
    expect(scene.relay.seen).not.toContain('session-initiate');
  });

  test('that names a device which bob does not have makes nobody send', async () => {
    const { sent, landed } = await attack(scene, naming('424242'), { unheard: true });
    expect([sent.status, landed], sent.stderr).toEqual([6, false]);
    expect(sent.stderr).toMatch(/None of the present OMEMO devices of bob0@jet\.test is trusted/);
    expect(scene.relay.seen).not.toContain('session-initiate');
  });
});

test.skipIf(!present)(
  'at the very first contact alone two jets can be held down to plain JET',
  async () => {
    const scene = await setScene({}, false);
    const { relay, pair } = scene;
    relay.rewrite = disco(withoutFeature);
    const first = await ended(pair.send(await pair.file('first.bin', noise(100))));
    // Honest even so: nothing but the word of a server speaks for it.
    expect([first.status, first.event('end')?.['status']], first.stderr).toEqual([0, 'delivered']);
    await scene.receiver.said(/"event":"end"/);
    relay.rewrite = honest;
    const second = await ended(pair.send(await pair.file('second.bin', noise(100))));
    expect([second.status, second.event('end')?.['status']], second.stderr).toEqual([
      0,
      'verified',
    ]);
    relay.rewrite = disco(withoutFeature);
    const third = await ended(pair.send(await pair.file('third.bin', noise(100))));
    expect(third.status, third.stderr).toBe(6);
    await scene.close();
  },
);

const nameOf = ({ jid }: JetHome) => jid.split('@')[0] ?? '';

const renamed = (stanza: Element, from: string, to: string) =>
  parse(stanza.toString().replaceAll(from, to)) ?? stanza;

describe.skipIf(!present)('with two devices of the recipient', () => {
  let scene: Scene;
  let second: JetHome;
  let out: string;
  let device: string;
  let receivers: readonly [JetProcess, JetProcess];
  let jids: readonly [string, string];

  beforeAll(async () => {
    scene = await setScene();
    const { relay, pair, server } = scene;
    second = await jetHome(server, nameOf(pair.bob), 'secret-b', relay.at);
    out = join(second.home, 'out');
    await mkdir(out);
    const args = ['receive', '--yes', '--json', '--out', out];
    receivers = [scene.receiver, second.start(args, { guard: GUARD_MS })];
    await receivers[1].said(/"event":"waiting"/);
    const [one = '', two = ''] = relay.online(nameOf(pair.bob));
    jids = [one, two];
    const { stdout } = await second.run(['devices', '--json']);
    const own = linesOf(stdout).find((line) => line['own'] === true);
    device = String(own?.['id']);
    const fingerprint = String(own?.['fingerprint']);
    const trusted = await pair.alice.run(['trust', pair.bob.jid, fingerprint]);
    expect(trusted.status, trusted.stderr).toBe(0);
  });
  afterAll(async () => {
    receivers[1].child.kill('SIGTERM');
    expect((await receivers[1].ended).status).toBe(0);
    await second.remove();
    await scene.close();
  });

  /** Alice sends to the first device under attack; gives what she said, and what landed where. */
  async function sends(rewrite: Rewrite, name: string) {
    const { relay, pair } = scene;
    relay.rewrite = rewrite;
    const marks = receivers.map(({ stderr }) => stderr.length);
    const file = await pair.file(name, noise(1000));
    const sent = await ended(pair.alice.start(['send', '--json', file, jids[0]]));
    relay.rewrite = honest;
    const landed = [(await pair.landed()).includes(name), (await readdir(out)).includes(name)];
    return { sent, landed, marks };
  }

  async function refusal(of: 0 | 1, mark: number | undefined): Promise<string> {
    const said = () => receivers[of].stderr.slice(mark);
    await receivers[of].until(() => said().includes('Refused'), 'a refusal');
    return said();
  }

  /** A session-initiate of alice's for both, the second one's as `change` makes it. */
  function forBoth(change: (copied: Element) => void): Rewrite {
    return (stanza, { account, direction }) => {
      if (account !== nameOf(scene.pair.alice) || direction !== 'up') return stanza;
      if (!jingleOf(stanza, 'session-initiate')) return stanza;
      const copied = copy(stanza);
      copied.attrs = { ...copied.attrs, to: jids[1], id: randomId() };
      change(copied);
      return [copied, stanza];
    };
  }

  test('an envelope that both get opens at one alone', async () => {
    const { sent, landed, marks } = await sends(
      forBoth(() => undefined),
      'copied.bin',
    );
    expect([sent.status, ...landed], sent.stderr).toEqual([0, true, false]);
    expect(await refusal(1, marks[1])).toMatch(/holds no key for this device/);
  });

  test('an envelope readdressed to the other does not open there', async () => {
    const { sent, landed, marks } = await sends(
      forBoth((copied) => {
        inside(copied, 'key').attrs['rid'] = device;
      }),
      'readdressed.bin',
    );
    expect([sent.status, ...landed], sent.stderr).toEqual([0, true, false]);
    expect(await refusal(1, marks[1])).toMatch(/Refused an offer of alice/);
  });

  test('an envelope that discovery has had made for the other is of no use to either', async () => {
    const lie = naming(device);
    const both = forBoth(() => undefined);
    const { sent, landed, marks } = await sends((stanza, way) => {
      const told = lie(stanza, way);
      return Array.isArray(told) ? told : both(told as Element, way);
    }, 'misled.bin');
    expect([sent.status, ...landed], sent.stderr).toEqual([6, false, false]);
    expect(await refusal(0, marks[0])).toMatch(/holds no key for this device/);
    // It opens there, but what is sealed beside it is bound to the address of the first.
    expect(await refusal(1, marks[1])).toMatch(/not what the peer sealed/);
  });

  test('an offer sent on to another process of the same device is refused there', async () => {
    const { relay, pair } = scene;
    const before = relay.online(nameOf(pair.bob));
    const folder = join(second.home, 'other');
    await mkdir(folder);
    const other = pair.bob.start(['receive', '--yes', '--json', '--out', folder]);
    await other.said(/"event":"waiting"/);
    const jid = relay.online(nameOf(pair.bob)).find((one) => !before.includes(one)) ?? '';
    const { sent, landed } = await sends((stanza, { account, direction }) => {
      if (account !== nameOf(scene.pair.alice) || stanza.getName() !== 'iq') return stanza;
      if (direction === 'down') return renamed(stanza, jid, jids[0]);
      return jingleOf(stanza) ? renamed(stanza, jids[0], jid) : stanza;
    }, 'elsewhere.bin');
    expect(landed).toEqual([false, false]);
    expect(sent.status, sent.stderr).toBe(6);
    await other.until(() => other.stderr.includes('Refused'), 'a refusal');
    expect(other.stderr).toMatch(/not what the peer sealed/);
    expect(await readdir(folder)).toEqual([]);
    other.child.kill('SIGTERM');
    expect((await other.ended).status).toBe(0);
  });
});

describe.skipIf(!present)('two sessions at once', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await setScene();
  });
  afterAll(() => scene.close());

  test.each(['encrypted', 'sealed', 'security', 'content'])(
    'whose %s are exchanged both end',
    async (what) => {
      const { relay, pair, receiver } = scene;
      const mark = receiver.stderr.length;
      const held: Element[] = [];
      relay.rewrite = (stanza, { account, direction }) => {
        const here = account === nameOf(pair.bob) && direction === 'down';
        if (!here || !jingleOf(stanza, 'session-initiate')) return stanza;
        held.push(stanza);
        const [one, two] = held;
        if (one === undefined || two === undefined) return [];
        exchange(inside(one, what), inside(two, what));
        if (what === 'security')
          for (const each of [one, two])
            inside(each, what).attrs['name'] = inside(each, 'content').attrs['name'];
        return [one, two];
      };
      const names = [`${what}-1.bin`, `${what}-2.bin`];
      const paths = await Promise.all(names.map((name) => pair.file(name, noise(1000))));
      const sent = await Promise.all(paths.map((path) => ended(pair.send(path))));
      relay.rewrite = honest;
      const told = () => receiver.stderr.slice(mark);
      await receiver.until(() => (told().match(/Refused/g) ?? []).length === 2, 'two refusals');
      // Who offers once more with a fresh secret meets the attacker again, who waits for another to exchange
      // it with: that one is never answered.
      for (const { status } of sent) expect([6, 7], told()).toContain(status);
      expect(told().match(/not what the peer sealed/g), told()).toHaveLength(2);
      expect(await pair.landed()).not.toContain(names[0]);
      expect(await pair.landed()).not.toContain(names[1]);
    },
  );

  function exchange(one: Element, two: Element): void {
    const [first, other] = [copy(one), copy(two)];
    replace(one, other);
    replace(two, first);
  }
});

test.skipIf(!present)(
  'two sessions with two processes of one account, each led to the other one, both end',
  async () => {
    const scene = await setScene();
    const { relay, pair } = scene;
    const [one = ''] = relay.online(nameOf(pair.bob));
    const out = join(pair.out, '..', 'beside');
    await mkdir(out);
    const beside = pair.bob.start(['receive', '--yes', '--json', '--out', out]);
    await beside.said(/"event":"waiting"/);
    const two = relay.online(nameOf(pair.bob)).find((jid) => jid !== one) ?? '';
    const receivers = [scene.receiver, beside];
    // Same account, same device, same sender: but for the full address nothing tells them apart.
    relay.rewrite = (stanza, { account }) => {
      if (account !== nameOf(pair.alice) || stanza.getName() !== 'iq') return stanza;
      return renamed(renamed(renamed(stanza, one, 'PLACE'), two, one), 'PLACE', two);
    };
    const paths = [
      await pair.file('for-one.bin', noise(1000)),
      await pair.file('for-two.bin', noise(1000)),
    ];
    const marks = receivers.map(({ stderr }) => stderr.length);
    const sent = await Promise.all(
      [one, two].map((jid, index) =>
        ended(pair.alice.start(['send', '--json', paths[index] ?? '', jid])),
      ),
    );
    relay.rewrite = honest;
    expect([await pair.landed(), await readdir(out)]).toEqual([[], []]);
    for (const [index, receiver] of receivers.entries()) {
      expect(sent[index]?.status, sent[index]?.stderr).toBe(6);
      const told = () => receiver.stderr.slice(marks[index]);
      await receiver.until(() => told().includes('Refused'), 'a refusal');
      expect(told()).toMatch(/not what the peer sealed/);
    }
    const right = await pair.alice.run(['send', paths[1] ?? '', two]);
    expect(right, right.stderr).toMatchObject({ status: 0 });
    expect(await readdir(out)).toEqual(['for-two.bin']);
    beside.child.kill('SIGTERM');
    expect((await beside.ended).status).toBe(0);
    await scene.close();
  },
);
