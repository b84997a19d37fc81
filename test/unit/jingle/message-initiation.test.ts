import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { FILE_TRANSFER } from '../../../src/jingle/file-description.ts';
import {
  answerProposals,
  decodeInitiation,
  encodeInitiation,
  type Initiation,
  MESSAGE_INITIATION,
  Proposal,
} from '../../../src/jingle/message-initiation.ts';
import { enableCarbons } from '../../../src/xmpp/carbons.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork, parseXml, reparse } from '../../support/network.ts';

const address = (text: string): Jid => {
  const jid = Jid.parse(text);
  if (jid === undefined) throw new Error(text);
  return jid;
};

const bare = address('bob@x.org');
const propose = (id: string): Initiation => ({
  action: 'propose',
  id,
  descriptions: [FILE_TRANSFER],
});

test('XEP-0353 §3: what is written is read again', () => {
  const id = fc.stringMatching(/^[!-~]{1,256}$/);
  const reason = fc.record(
    { condition: fc.constantFrom('cancel', 'busy', 'expired', 'success') },
    { requiredKeys: ['condition'] },
  );
  const initiation = fc.oneof(
    fc.record({
      action: fc.constant('propose' as const),
      id,
      descriptions: fc.array(fc.webUrl(), { minLength: 1, maxLength: 64 }),
    }),
    fc.record({ action: fc.constantFrom('ringing' as const, 'proceed', 'accept'), id }),
    fc.record({
      action: fc.constantFrom('reject' as const, 'retract'),
      id,
      reason,
      tieBreak: fc.boolean(),
    }),
    fc.record(
      { action: fc.constant('finish' as const), id, reason, migrated: id },
      { requiredKeys: ['action', 'id', 'reason'] },
    ),
  );
  fc.assert(
    fc.property(initiation, (value) => {
      const message = reparse(encodeInitiation(bare, value));
      expect(message.attrs['type']).toBe('chat');
      expect(message.getChild('store', 'urn:xmpp:hints')).toBeDefined();
      expect(decodeInitiation(message)).toEqual(value);
    }),
  );
});

test.each([
  ['an error', `type='error'`, `<propose id='1'><description xmlns='${FILE_TRANSFER}'/></propose>`],
  ['no id', '', `<proceed/>`],
  ['an empty id', '', `<proceed id=''/>`],
  ['an id too long', '', `<proceed id='${'x'.repeat(257)}'/>`],
  ['an unknown action', '', `<explode id='1'/>`],
  ['a proposal of nothing', '', `<propose id='1'/>`],
  ['a proposal of too much', '', `<propose id='1'>${'<description/>'.repeat(65)}</propose>`],
  ['two at once', '', `<proceed id='1'/><proceed id='1'/>`],
  ['another namespace', '', `<proceed id='1' xmlns='urn:xmpp:jingle-message:1'/>`],
  ['nothing', '', ''],
])('%s is none', (_, attributes, inner) => {
  const element = inner.replace(
    /<(propose|proceed|explode)(?![^>]*xmlns)/g,
    `<$1 xmlns='${MESSAGE_INITIATION}'`,
  );
  expect(decodeInitiation(parseXml(`<message ${attributes}>${element}</message>`))).toBeUndefined();
});

/** Bob waits, beside a chat client of his or not, and deals with alice alone. */
async function setUp(options: { readonly chat?: boolean; readonly copies?: boolean } = {}) {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const bob = network.connect('bob@x.org/jet');
  if (options.copies !== false) await enableCarbons(bob);
  if (options.chat === true) {
    const chat = network.connect('bob@x.org/chat');
    await chat.send(parseXml('<presence/>'));
  }
  await bob.send(parseXml('<presence><priority>-1</priority></presence>'));
  const introduced: string[] = [];
  const stop = answerProposals(
    bob,
    (from) => from.sameBare(address('alice@x.org')),
    (to) => introduced.push(to.toString()),
  );
  const alice = network.connect('alice@x.org/a');
  await settle();
  /** What alice heard from bob since the last time. */
  let seen = 0;
  const heard = async () => {
    await settle();
    const news = alice.received.slice(seen);
    seen = alice.received.length;
    return news
      .filter((stanza) => stanza.name === 'message')
      .map((message) => [message.attrs['from'], decodeInitiation(message)] as const);
  };
  return { clock, network, alice, bob, introduced, stop, heard };
}

test.each([true, false])('a proposal is answered (a chat client beside: %s)', async (chat) => {
  const { alice, introduced, heard, stop } = await setUp({ chat });
  await alice.send(encodeInitiation(bare, propose('one')));
  expect(await heard()).toEqual([['bob@x.org/jet', { action: 'proceed', id: 'one' }]]);
  expect(introduced).toEqual(['alice@x.org/a']);
  // Again, and one more while the first may still run: 0353 §4.2 is for calls.
  await alice.send(encodeInitiation(bare, propose('one')));
  await alice.send(encodeInitiation(bare, propose('two')));
  expect(await heard()).toEqual([['bob@x.org/jet', { action: 'proceed', id: 'two' }]]);
  stop();
  await alice.send(encodeInitiation(bare, propose('three')));
  expect(await heard()).toEqual([]);
});

test('a stranger, a call, a forged copy and what is no proposal get no answer', async () => {
  const { network, alice, bob, introduced, heard } = await setUp();
  const mallory = network.connect('mallory@x.org/m');
  for (const to of [bare, bob.jid]) await mallory.send(encodeInitiation(to, propose('1')));
  const call = {
    action: 'propose',
    id: '2',
    descriptions: ['urn:xmpp:jingle:apps:rtp:1'],
  } as const;
  await alice.send(encodeInitiation(bare, call));
  await alice.send(encodeInitiation(bare, { action: 'ringing', id: '3' }));
  const inner = encodeInitiation(bare, propose('4'));
  inner.attrs['from'] = 'alice@x.org/a';
  inner.attrs['xmlns'] = 'jabber:client';
  const wrap = (from: string, direction: string) =>
    parseXml(
      `<message from='${from}' to='bob@x.org/jet'><${direction} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>${inner.toString()}</forwarded></${direction}></message>`,
    );
  // By a stranger, by the server itself, by one of our own resources; and what we sent.
  for (const from of ['mallory@x.org/m', 'mallory@x.org', 'x.org', 'bob@x.org/chat'])
    network.inject(bob.jid, wrap(from, 'received'));
  network.inject(bob.jid, wrap('bob@x.org', 'sent'));
  expect(await heard()).toEqual([]);
  await settle();
  expect(mallory.received).toEqual([]);
  expect(introduced).toEqual([]);
  // The same copy from our own account is one.
  network.inject(bob.jid, wrap('bob@x.org', 'received'));
  expect(await heard()).toEqual([['bob@x.org/jet', { action: 'proceed', id: '4' }]]);
});

test('the one who proposes takes answers of that account to that proposal alone', async () => {
  const { network, alice, bob } = await setUp({ copies: false });
  const proposal = new Proposal(alice, bare);
  const proceeded: string[] = [];
  await proposal.make((jid) => proceeded.push(jid.toString()));
  const mallory = network.connect('mallory@x.org/m');
  const proceed = (id: string) => encodeInitiation(alice.jid, { action: 'proceed', id });
  await mallory.send(proceed(proposal.id));
  await bob.send(proceed('another'));
  await bob.send(encodeInitiation(alice.jid, { action: 'ringing', id: proposal.id }));
  const fromBare = proceed(proposal.id);
  fromBare.attrs['from'] = 'bob@x.org';
  network.inject(alice.jid, fromBare);
  await settle();
  expect(proceeded).toEqual([]);
  await bob.send(proceed(proposal.id));
  await settle();
  expect(proceeded).toEqual(['bob@x.org/jet']);
  proposal.end(false);
  await bob.send(proceed(proposal.id));
  await settle();
  expect(proceeded).toEqual(['bob@x.org/jet']);
});

test('a proposal that comes to nothing is taken back, once and only if it was made', async () => {
  const { alice, network } = await setUp();
  const sent: string[] = [];
  network.tap((stanza) => {
    const initiation = decodeInitiation(stanza);
    if (initiation) sent.push(initiation.action);
    return undefined;
  });
  new Proposal(alice, bare).end(true);
  expect(sent).toEqual([]);
  const proposal = new Proposal(alice, bare);
  await proposal.make(() => undefined);
  proposal.end(true);
  proposal.end(true);
  await settle();
  expect(sent).toEqual(['propose', 'proceed', 'retract']);
});

test('a rejection of that account ends the search, ringing does not, and the end is told', async () => {
  const { network, alice, bob } = await setUp({ copies: false });
  const proposal = new Proposal(alice, bare);
  let rejections = 0;
  await proposal.make(
    () => undefined,
    () => rejections++,
  );
  const reject = (id: string) =>
    encodeInitiation(alice.jid, { action: 'reject', id, tieBreak: false });
  const mallory = network.connect('mallory@x.org/m');
  await mallory.send(reject(proposal.id));
  await bob.send(reject('another'));
  await bob.send(encodeInitiation(alice.jid, { action: 'ringing', id: proposal.id }));
  await settle();
  expect(rejections).toBe(0);
  await bob.send(reject(proposal.id));
  await settle();
  expect(rejections).toBe(1);
  const told: unknown[] = [];
  network.tap((stanza) => {
    told.push(decodeInitiation(stanza));
    return undefined;
  });
  await proposal.finish('success');
  await settle();
  const reason = { condition: 'success' };
  expect(told[0]).toEqual({ action: 'finish', id: proposal.id, reason });
});

test.each(['retract', 'finish'] as const)(
  'after %s the same proposal is a new one',
  async (action) => {
    const { alice, heard } = await setUp();
    const answer = [['bob@x.org/jet', { action: 'proceed', id: 'one' }]];
    await alice.send(encodeInitiation(bare, propose('one')));
    expect(await heard()).toEqual(answer);
    const over =
      action === 'finish' ? { action, id: 'one' } : { action, id: 'one', tieBreak: false };
    await alice.send(encodeInitiation(bare, over));
    await alice.send(encodeInitiation(bare, propose('one')));
    expect(await heard()).toEqual(answer);
  },
);
