import type { Element } from '@xmpp/xml';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { acknowledge, openLedger, sent } from '../../../src/xmpp/ledger.ts';
import { LARGEST_STANZA, StreamParser } from '../../../src/xmpp/parser.ts';
import { orderRecords, resolveTargets } from '../../../src/xmpp/resolve.ts';
import { choose } from '../../../src/xmpp/sasl/choose.ts';
import { backOff } from '../../../src/xmpp/session.ts';
import { repliesFor } from '../../../src/xmpp/stanza.ts';
import { attr, parse, redacted, uint, xml } from '../../../src/xmpp/xml.ts';

const jid = (text: string): Jid => Jid.parse(text) as Jid;

function read(...chunks: string[]): { elements: string[]; errors: string[] } {
  const parser = new StreamParser();
  const elements: string[] = [];
  const errors: string[] = [];
  parser.on('element', (element: Element) => elements.push(element.toString()));
  parser.on('error', (error: Error) => errors.push(error.message));
  for (const chunk of chunks) parser.write(chunk);
  return { elements, errors };
}

test('the parser reads stanzas whatever the chunks are', () => {
  const text = "<s><a b='1'>x &amp; y</a> <c/><d><e>é</e></d>";
  const whole = read(text);
  expect(whole).toEqual({
    elements: ['<a b="1">x &amp; y</a>', '<c/>', '<d><e>é</e></d>'],
    errors: [],
  });
  expect(read(...text.split(/(?:)/u))).toEqual(whole);
});

test('the parser fails once, as an event, on everything hostile', () => {
  for (const hostile of [
    ['<s><a>&lol;</a>'],
    ['<!DOCTYPE s [<!ENTITY lol "x">]><s>'],
    ['<s></a>'],
    ['</s>'],
    ['<s>text<a/>'],
    ['<s>' + '<a>'.repeat(100)],
    ['<s><a>', 'x'.repeat(LARGEST_STANZA), 'x', 'x</a>'],
    ['<s><a>', ...Array.from({ length: 20 }, () => `<b>${'x'.repeat(100_000)}</b>`)],
  ])
    expect(read(...hostile, '<a/>')).toMatchObject({ elements: [], errors: [expect.any(String)] });
});

test('no attribute reaches a prototype', () => {
  const element = parse('<a __proto__="x" constructor="y" b="1"/>');
  expect(Object.keys(element?.attrs ?? {})).toEqual(['constructor', 'b']);
  expect(Object.getPrototypeOf(element?.attrs)).toBe(Object.prototype);
  expect(element && [attr(element, 'b'), attr(element, 'toString')]).toEqual(['1', undefined]);
});

test('parse takes one element and nothing else', () => {
  expect(parse('<a xmlns="n"><b/></a>')?.getChild('b', 'n')?.toString()).toBe('<b/>');
  for (const text of ['', 'x', '<a>', '<a/><b/>', '</root><a/>', '<a></b>'])
    expect(parse(text)).toBeUndefined();
  expect([uint('12'), uint('13', 12), uint('-1'), uint('1e3')]).toEqual([
    12,
    undefined,
    undefined,
    undefined,
  ]);
});

test('secrets are struck out of the log', () => {
  const iq = xml('iq', {}, xml('x', { xmlns: 'n' }, xml('key', {}, 'S3'), xml('iv', {}, 'S3')));
  const auth = xml('auth', { xmlns: 'urn:ietf:params:xml:ns:xmpp-sasl' }, 'S3');
  expect(redacted(iq) + redacted(auth)).not.toContain('S3');
});

test('only the addressee, or our server for our account, replies', () => {
  const own = jid('me@home.org/r');
  const to = jid('you@away.org/x');
  expect(repliesFor(to, to, own)).toBe(true);
  for (const from of [undefined, jid('me@home.org'), jid('you@away.org'), jid('home.org')])
    expect(repliesFor(to, from, own)).toBe(false);
  for (const from of [undefined, own, own.bare, jid('home.org')])
    expect(repliesFor(null, from, own)).toBe(true);
  expect(repliesFor(null, jid('me@home.org/other'), own)).toBe(false);
  expect(repliesFor(null, to, own)).toBe(false);
});

test('acknowledgements wrap, and more than was sent is refused', () => {
  let ledger = { ...openLedger('i'), acknowledged: 0xffff_ffff };
  ledger = { ...sent(sent(ledger, { stanza: xml('a') }), { stanza: xml('b') }) };
  expect(acknowledge(ledger, 0)?.unacknowledged).toHaveLength(1);
  expect(acknowledge(ledger, 1)?.unacknowledged).toHaveLength(0);
  expect(acknowledge(ledger, 2)).toBeUndefined();
});

test('records are ordered by priority and weight; both kinds of service are one pool', async () => {
  const records = [
    { priority: 2, weight: 0, name: 'c' },
    { priority: 1, weight: 1, name: 'a' },
    { priority: 1, weight: 9, name: 'b' },
  ];
  expect(orderRecords(records, (_, max) => max).map(({ name }) => name)).toEqual(['b', 'a', 'c']);
  const targets = await resolveTargets('x.org', (name) =>
    name.startsWith('_xmpps')
      ? Promise.resolve([{ priority: 5, weight: 0, port: 443, name: 'd.x.org' }])
      : Promise.resolve([{ priority: 1, weight: 0, port: 5222, name: 's.x.org' }]),
  );
  expect(targets.map(({ host, tls }) => [host, tls])).toEqual([
    ['s.x.org', false],
    ['d.x.org', true],
  ]);
  const none = () => Promise.reject(new Error('ENOTFOUND'));
  expect(await resolveTargets('x.org', none)).toEqual([{ host: 'x.org', port: 5222, tls: false }]);
  const dot = () => Promise.resolve([{ priority: 0, weight: 0, port: 0, name: '.' }]);
  expect(await resolveTargets('x.org', dot)).toEqual([]);
});

test('mechanisms: bound first, PLAIN last, and the flag tells what we could', () => {
  const offer = (...names: string[]) =>
    xml(
      'features',
      {},
      xml(
        'mechanisms',
        { xmlns: 'urn:ietf:params:xml:ns:xmpp-sasl' },
        names.map((name) => xml('mechanism', {}, name)),
      ),
    );
  const exporter = [{ type: 'tls-exporter', data: Buffer.alloc(32) }];
  expect(choose(offer('PLAIN', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256'), exporter)).toMatchObject({
    mechanism: 'SCRAM-SHA-1-PLUS',
    binding: { flag: 'p', type: 'tls-exporter' },
  });
  expect(choose(offer('PLAIN', 'SCRAM-SHA-1'), exporter)).toMatchObject({ binding: { flag: 'y' } });
  expect(choose(offer('SCRAM-SHA-1', 'SCRAM-SHA-1-PLUS'), [])).toMatchObject({
    mechanism: 'SCRAM-SHA-1',
    binding: { flag: 'n' },
  });
  expect(choose(offer('PLAIN'), exporter)?.mechanism).toBe('PLAIN');
  expect(choose(offer('DIGEST-MD5'), exporter)).toBeUndefined();
});

test('the back-off doubles up to a minute', () => {
  const low = (min: number) => min;
  expect([0, 1, 2, 9, 99].map((n) => backOff(n, low))).toEqual([500, 1000, 2000, 30_000, 30_000]);
});
