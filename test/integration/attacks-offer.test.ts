/** What a hostile server makes of an offer between two jets, and that nothing comes of it. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { xml, type Element } from '../../src/xmpp/xml.ts';
import {
  attack,
  clear,
  disguise,
  flipBit,
  honest,
  inside,
  replace,
  setScene,
  strike,
  strikeBack,
  strip,
  type Scene,
} from '../support/hostile.ts';
import { hasProsody } from '../support/prosody.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const SIZE = 20_000;
const HASHES = 'urn:xmpp:hashes:2';
const present = await hasProsody();

const offer = (change: (content: Element, jingle: Element) => void) =>
  strike('session-initiate', (jingle) => change(inside(jingle, 'content'), jingle));
const attribute = (name: string, value: string) =>
  offer((content) => {
    content.attrs[name] = value;
  });

/** What bob's user is told, and the statuses: the sender's is that of the reason that bob gives. */
type Case = readonly [what: string, rewrite: () => Rewrite, sender: number, says: RegExp];

const REFUSED: readonly Case[] = [
  [
    'its direction flipped into a request',
    () => attribute('senders', 'responder'),
    9,
    /a sealed element of another kind/,
  ],
  [
    'its direction flipped, and its sealed element called a request',
    () =>
      offer((content) => {
        content.attrs['senders'] = 'responder';
        inside(content, 'sealed').attrs['label'] = 'request';
      }),
    9,
    /the sealed request is not what the peer sealed/,
  ],
  [
    'its sealed element called a request',
    () =>
      offer((content) => {
        inside(content, 'sealed').attrs['label'] = 'request';
      }),
    6,
    /a sealed element of another kind/,
  ],
  ['both directions', () => attribute('senders', 'both'), 7, /in both directions/],
  [
    'another creator',
    () => disguise(() => 'creator="initiator"', 'creator="responder"'),
    6,
    /has no place here/,
  ],
  [
    'another session id',
    // An offer that is made once more has a new one: under the old it would be a repetition.
    () =>
      disguise(
        (jingle) => `sid="${jingle.attrs['sid']}"`,
        (time) => `sid="another-session-${time}"`,
      ),
    6,
    /not what the peer sealed/,
  ],
  [
    'another content name',
    () =>
      disguise(
        (jingle) => `name="${inside(jingle, 'content').attrs['name']}"`,
        'name="another-content"',
      ),
    6,
    /not what the peer sealed/,
  ],
  [
    'another sender of its stanzas',
    () => disguise((jingle) => jingle.attrs['initiator'] ?? '', 'alice0@jet.test/jet.another'),
    6,
    /not what the peer sealed/,
  ],
  [
    'another spelling of its cipher',
    () =>
      offer((content) => {
        const { attrs } = inside(content, 'security');
        attrs['cipher'] = `${attrs['cipher']}:0`;
      }),
    6,
    /not what the peer sealed/,
  ],
  [
    'another cipher',
    () =>
      offer((content) => {
        inside(content, 'security').attrs['cipher'] = 'urn:xmpp:ciphers:aes-256-gcm-nopadding';
      }),
    6,
    /does not carry this cipher/,
  ],
  [
    'another type of envelope',
    () =>
      offer((content) => {
        inside(content, 'security').attrs['type'] = 'urn:xmpp:omemo:2';
      }),
    6,
    /exactly one envelope/,
  ],
  [
    'another IV',
    () =>
      offer((content) => {
        flipBit(inside(content, 'iv'));
      }),
    6,
    /not what the peer sealed/,
  ],
  [
    'another envelope key',
    () =>
      offer((content) => {
        flipBit(inside(content, 'key'));
      }),
    6,
    /Refused an offer/,
  ],
  [
    'a bit of its sealed element changed',
    () =>
      offer((content) => {
        flipBit(inside(content, 'sealed'));
      }),
    6,
    /not what the peer sealed/,
  ],
  [
    'its sealed element twice',
    () =>
      offer((content) => {
        inside(content, 'security').append(
          xml('sealed', { ...inside(content, 'sealed').attrs }, 'AAAA'),
        );
      }),
    6,
    /two sealed elements/,
  ],
  [
    'its sealed element stripped',
    () =>
      offer((content) => {
        strip(content, 'sealed');
      }),
    6,
    /without sealed elements from a key that is a jet's/,
  ],
  [
    'its sealed element stripped and a plain description in its place',
    () => plain(),
    6,
    /without sealed elements from a key that is a jet's.*jet trust --plain alice/,
  ],
  [
    'its security stripped',
    () =>
      offer((content) => {
        strip(content, 'security');
      }),
    6,
    /not encrypted/,
  ],
];

/** Plain JET, as an old client would offer the same file. */
function plain(): Rewrite {
  return offer((content) => {
    strip(content, 'sealed');
    inside(content, 'file').append(clear('name', 'plan.bin'), clear('size', String(SIZE)));
  });
}

describe.skipIf(!present)('an offer between two jets', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await setScene();
  });
  afterAll(() => scene.close());

  test.each(REFUSED)('is refused with %s', async (_, rewrite, sender, says) => {
    const { sent, received, landed } = await attack(scene, rewrite());
    expect([sent.status, received.exit, landed], sent.stderr + received.stderr).toEqual([
      sender,
      undefined,
      false,
    ]);
    expect(received.stderr).toMatch(/Refused an? (?:offer|request) of alice0@jet\.test: .+\./);
    expect(received.stderr).toMatch(says);
    expect(received.stderr).not.toMatch(/\.\.$/m);
    expect(sent.stderr).toMatch(/plan-\d+\.bin was not sent to bob0@jet\.test: .+\./);
    if (sender === 6) expect(sent.stderr).toMatch(/somebody between may have changed it/);
    // The words of the other side are the only thing that a refused offer leaves behind.
    expect(received.event('offer')).toBeUndefined();
  });

  test.each<[string, () => Rewrite]>([
    [
      'another name and size in the clear',
      () =>
        offer((content) => {
          inside(content, 'file').append(clear('name', '../evil.sh'), clear('size', '3'));
        }),
    ],
    [
      'another hash in the clear',
      () =>
        offer((content) => {
          inside(content, 'file').append(
            xml('hash', { xmlns: HASHES, algo: 'sha-256' }, Buffer.alloc(32).toString('base64')),
          );
        }),
    ],
    [
      'another range in the clear',
      () =>
        offer((content) => {
          inside(content, 'range').attrs = { offset: '10', length: '5' };
        }),
    ],
    [
      'another range, name and size in the accept',
      () =>
        strikeBack('session-accept', (jingle) => {
          inside(jingle, 'range').attrs = { offset: '10', length: '5' };
          inside(jingle, 'file').append(clear('name', 'evil.sh'), clear('size', '3'));
        }),
    ],
  ])('is taken for what is sealed, with %s', async (_, rewrite) => {
    const { sent, received, landed } = await attack(scene, rewrite());
    expect([sent.status, received.exit, landed], sent.stderr + received.stderr).toEqual([
      0,
      0,
      true,
    ]);
  });

  test.each(['session', 'sealed'] as const)(
    'is refused with the %s of an earlier one',
    async (what) => {
      let recorded: Element | undefined;
      const name = what === 'session' ? 'security' : 'sealed';
      await attack(
        scene,
        offer((content) => {
          recorded = inside(content, name);
        }),
      );
      const { sent, received, landed } = await attack(
        scene,
        offer((content) => {
          if (recorded === undefined) throw new Error('nothing was recorded');
          if (what === 'session') recorded.attrs['name'] = content.attrs['name'];
          replace(inside(content, name), recorded);
        }),
      );
      expect([sent.status, received.exit, landed], received.stderr).toEqual([6, undefined, false]);
      expect(received.stderr).toMatch(
        what === 'session' ? /Refused an offer/ : /not what the peer sealed/,
      );
    },
  );

  test('goes on after all that', async () => {
    const { sent, received, landed } = await attack(scene, honest);
    expect([sent.status, received.exit, landed]).toEqual([0, 0, true]);
  });
});

test.skipIf(!present)(
  'a first contact that is held down to plain JET at one side ends before a byte',
  async () => {
    const scene = await setScene({}, false);
    const { sent, received, landed } = await attack(scene, plain());
    expect([sent.status, received.exit, landed], sent.stderr + received.stderr).toEqual([
      6,
      6,
      false,
    ]);
    expect(sent.stderr).toMatch(
      /the sealed accept is missing: something was changed, left out or repeated/,
    );
    expect(sent.event('start')).toBeUndefined();
    await scene.close();
  },
);
