import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { format } from 'prettier';
import { describe, expect, it } from 'vitest';
import {
  parseAccount,
  parseAddress,
  parseBareAddress,
  splitSend,
} from '../../../src/cli/arguments.ts';
import { readKeys } from '../../../src/cli/commands/trust.ts';
import { escapeText } from '../../../src/cli/escape.ts';
import { formatDuration, formatSize } from '../../../src/cli/format.ts';
import { eventPage, eventSchema, toJson } from '../../../src/cli/json.ts';
import {
  parsePorts,
  parseProxy,
  parseServer,
  parseSize,
  parseWait,
  Settings,
} from '../../../src/cli/settings.ts';
import { groupFingerprint, parseFingerprint } from '../../../src/omemo/uri.ts';

describe('arguments', () => {
  const there = (path: string) => path === 'f' || path === 'a@b';
  it.each([
    [['f', 'bob@x'], undefined, 'bob@x'],
    [['f'], 'bob@x', 'bob@x'],
    [['a@b'], 'bob@x/r', 'bob@x/r'],
    [['f', 'a@b', 'bob@x'], undefined, 'bob@x'],
  ])('splits %j --to %s', (items, to, jid) => {
    expect(splitSend(items, to, there).to.jid.toString()).toBe(jid);
  });
  it.each([
    [[], 'Nothing to send'],
    [['f'], 'No recipient given'],
    [['bob@x', 'f'], 'Files come first'],
    [['bob@x'], 'No file given'],
    [['f', 'bob'], 'not an XMPP address'],
  ])('refuses %j', (items, message) => {
    expect(() => splitSend(items, undefined, there)).toThrow(message);
  });
});

describe('an address with fingerprints', () => {
  const key = '0123456789abcdef'.repeat(4);
  const other = 'fedcba9876543210'.repeat(4);
  const uri = `xmpp:bob@x?omemo-sid-7=${key}`;
  const there = (path: string) => path === 'f';

  it.each<[string, string, (readonly [number, string])[]]>([
    ['bob@x/r', 'bob@x/r', []],
    ['xmpp:bob@x', 'bob@x', []],
    [uri, 'bob@x', [[7, key]]],
    [uri.replace('bob@x', 'bob@x/laptop'), 'bob@x/laptop', [[7, key]]],
    [uri.replace('xmpp', 'XMPP').replace(key, key.toUpperCase()), 'bob@x', [[7, key]]],
    [
      `${uri};omemo-sid-8=${other}`,
      'bob@x',
      [
        [7, key],
        [8, other],
      ],
    ],
    [
      `${uri}&omemo-sid-8=${other}&omemo-sid-7=${key}`,
      'bob@x',
      [
        [7, key],
        [8, other],
      ],
    ],
    [uri.replace('?', '?verify;').replace('omemo-', 'omemo%2D'), 'bob@x', [[7, key]]],
    [uri.replace('bob', 'o%24neil'), 'o$neil@x', [[7, key]]],
  ])('reads %s', (text, jid, keys) => {
    const address = parseAddress(text);
    expect(address.jid.toString()).toBe(jid);
    expect(address.devices.map(({ device, fingerprint }) => [device, fingerprint])).toEqual(keys);
  });

  it.each([
    uri.slice(0, -1),
    uri.replace('sid-7', 'sid-0'),
    uri.replace('sid-7', 'sid-2147483648'),
    uri.replace('omemo-sid-7', 'omemo-sid'),
    uri.replace('omemo', 'OMEMO'),
    uri.replace('7=', '7%3'),
    uri.replace('omemo', '%omemo'),
    `${uri};omemo-sid-7=${other}`,
    `${uri};omemo-sid-8`,
    uri.replace('xmpp:', ''),
    uri.replace('xmpp:bob@x', 'bob@x/r'),
    uri.replace('bob@x', 'bob%40x'),
    uri.replace('bob@x', 'bob@evil%2F@x'),
    'xmpp:x@',
  ])('never takes %s for an address without them', (text) => {
    expect(() => parseAddress(text)).toThrow(/is written xmpp:|is not an XMPP address/);
  });

  it('is a recipient, and in the wrong place as a recipient is', () => {
    expect(splitSend(['f', uri], undefined, there).to.devices).toHaveLength(1);
    expect(splitSend(['f'], uri, there).to.devices).toHaveLength(1);
    // A shell would end the command at the semicolon.
    const two = `${uri};omemo-sid-8=${other}`;
    expect(() => splitSend([two, 'f'], undefined, there)).toThrow(`: jet send f '${two}'`);
    expect(() => splitSend([two], undefined, there)).toThrow(`jet send FILE '${two}'`);
    expect(() => splitSend(['f', uri, 'bob@x'], undefined, there)).toThrow('is no file here');
  });

  it('is refused where a resource or keys make no sense', () => {
    expect(() => parseBareAddress(uri.replace('bob@x', 'bob@x/r'))).toThrow('Leave "/r" off');
    expect(() => parseAccount(uri)).toThrow('Write the account as bob@x alone');
    expect(parseAccount('bob@x').toString()).toBe('bob@x');
  });

  it('names the keys for trust and distrust', () => {
    expect(readKeys(uri, [])).toMatchObject({ keys: [{ device: 7, fingerprint: key }] });
    expect(readKeys('bob@x', [key.slice(0, 8), key.slice(8)]).keys).toEqual([{ fingerprint: key }]);
    expect(() => readKeys(uri, [key])).toThrow('not both');
    expect(() => readKeys('bob@x', [])).toThrow('64 hexadecimal digits');
  });
});

describe('settings', () => {
  it('prefers the flag, then the environment, then the file', () => {
    const file = new Map([['wait', '3']] as const);
    expect(new Settings({ wait: '1' }, { JET_WAIT: '2' }, file).wait(0)).toBe(1000);
    expect(new Settings({}, { JET_WAIT: '2' }, file).wait(0)).toBe(2000);
    expect(new Settings({}, {}, file).wait(0)).toBe(3000);
    expect(new Settings({}, {}, new Map()).wait(7)).toBe(7);
  });
  it('prefers JET_JID to JET_ACCOUNT and a flag to both', () => {
    const env = { JET_JID: 'a@x', JET_ACCOUNT: 'b@x' };
    expect(new Settings({}, env, new Map()).account()?.name).toBe('a@x');
    expect(new Settings({ account: 'c@x' }, env, new Map()).account()?.name).toBe('c@x');
  });
  it('refuses credentials in --proxy and never repeats them', () => {
    const url = 'socks5://u:secret@h:1';
    expect(() => new Settings({ proxy: url }, {}, new Map()).proxy()).toThrow(/^(?!.*secret)/);
    expect(new Settings({}, { JET_PROXY: url }, new Map()).proxy()).toMatchObject({
      user: 'u',
      port: 1,
    });
  });
  it('reads values', () => {
    expect([parseWait('forever'), parseWait('1.5'), parseWait('-1')]).toEqual([
      Infinity,
      1500,
      undefined,
    ]);
    expect([parseSize('1k'), parseSize('1Ki'), parseSize('0'), parseSize('x')]).toEqual([
      1000,
      1024,
      undefined,
      undefined,
    ]);
    expect(parseServer('tls://[::1]:5223')).toEqual({ host: '::1', port: 5223, directTls: true });
    expect([
      parseServer('h'),
      parseServer('h:0'),
      parseServer('h:65536'),
      parseProxy('http://h'),
    ]).toEqual(Array(4).fill(undefined));
  });
});

describe('text', () => {
  it('lets no control or bidirectional character through', () => {
    const unsafe =
      /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;
    // Each of them: chance would hardly meet one.
    const each = Array.from({ length: 0x1_0000 }, (_, unit) => String.fromCharCode(unit));
    const known = each.filter((character) => unsafe.test(character));
    expect(known.length).toBeGreaterThan(2048);
    expect(known.filter((character) => unsafe.test(escapeText(`a${character}b`)))).toEqual([]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeText(text)).not.toMatch(unsafe);
      }),
    );
  });
  it('leaves ordinary names alone', () =>
    expect(escapeText('Größe 文件.pdf')).toBe('Größe 文件.pdf'));
  it('formats', () => {
    expect([0, 999, 1500, 999_999, 1e9].map(formatSize)).toEqual([
      '0 B',
      '999 B',
      '1.5 kB',
      '1.0 MB',
      '1.0 GB',
    ]);
    expect([3.2, 125, 3725, NaN].map(formatDuration)).toEqual(['4 s', '2:05', '1:02:05', '–']);
  });
  it('reads the fingerprints that it writes', () => {
    const hex = '0123456789abcdef'.repeat(4);
    expect(groupFingerprint(hex).split(' ')).toHaveLength(8);
    expect(parseFingerprint(groupFingerprint(hex))).toBe(hex);
  });
});

describe('events', () => {
  const validate = new Ajv().compile(eventSchema());
  it('fit their schema and hold nothing else', () => {
    const line = toJson({
      event: 'end',
      id: 'i',
      time: 1,
      direction: 'send',
      status: 'delivered',
      peer: 'a@b/c',
      file: 'f',
      bytes: 1,
      sha256: 'a'.repeat(64),
      elapsed: 1.5,
      exit: 0,
    });
    expect(validate(JSON.parse(line))).toBe(true);
    expect(validate(JSON.parse(toJson({ event: 'waiting', id: 'i', time: 1, what: 'w' })))).toBe(
      true,
    );
    expect(validate({ v: 1, event: 'waiting', id: 'i', time: 1 })).toBe(false);
  });
  it('are documented as they are', async () => {
    const doc = (name: string) =>
      readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
    const settings = { printWidth: 100, singleQuote: true };
    expect(doc('events.md')).toBe(await format(eventPage(), { ...settings, parser: 'markdown' }));
    expect(doc('events.schema.json')).toBe(
      await format(JSON.stringify(eventSchema()), { ...settings, parser: 'json' }),
    );
  });
});

it.each([
  ['40000', { first: 40_000, last: 40_000 }],
  ['40000-40100', { first: 40_000, last: 40_100 }],
  ['1-65535', { first: 1, last: 65_535 }],
  ['0', undefined],
  ['40100-40000', undefined],
  ['40000-65536', undefined],
  ['40000-', undefined],
  ['a-b', undefined],
])('reads the ports %s', (text, ports) => {
  expect(parsePorts(text)).toEqual(ports);
});
