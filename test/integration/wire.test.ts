/** What the server and the wire see of a file: neither its bytes nor its key. */
import { createCipheriv, randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { huntKey, readings } from '../support/key-hunt.ts';
import { makePair, type Exchange, type Pair } from '../support/pair.ts';
import { startRelay, type Relay } from '../support/relay.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

/** A second loopback address, where the tap stands in for the proxy. */
const TAP = '127.0.0.2';
const MARK = 'What nobody on the way may read. ';
const plain = Buffer.from(MARK.repeat(1000));
/** Greeting and request of SOCKS5 (RFC 1928) with a destination of 40 characters. */
const SOCKS_UP = 3 + 4 + 1 + 40 + 2;

describe('the hunt for a key', () => {
  it.each([
    ['raw', (key: Buffer) => key],
    ['in base64', (key: Buffer) => Buffer.from(`<key>${key.toString('base64')}</key>`)],
    ['in hex', (key: Buffer) => Buffer.from(`key=${key.toString('hex')}`)],
    [
      'in base64 behind other bytes',
      (key: Buffer) =>
        Buffer.from(`<a>${Buffer.concat([Buffer.alloc(7), key]).toString('base64')}</a>`),
    ],
  ])('finds one that is there: %s', (_, hide) => {
    for (const [length, ivLength] of [
      [16, 12],
      [16, 16],
      [32, 12],
    ] as const) {
      const [key, iv] = [randomBytes(length), randomBytes(ivLength)];
      const cipher = createCipheriv(length === 16 ? 'aes-128-gcm' : 'aes-256-gcm', key, iv);
      const capture = Buffer.concat([randomBytes(99), Buffer.from(' '), hide(key)]);
      expect(huntKey([capture], plain, cipher.update(plain))).toEqual(key);
      expect(huntKey([randomBytes(999)], plain, cipher.update(plain))).toBeUndefined();
    }
  });
});

describe.skipIf(!(await hasProsody()) || process.platform !== 'linux')('on the wire', () => {
  let server: Prosody;
  let relay: Relay;
  let pair: Pair;
  beforeAll(async () => {
    server = await startProsody({ modules: ['stanza_debug'], proxyAddress: TAP });
    const port = server.proxyPort;
    relay = await startRelay({ host: TAP, port }, { host: '127.0.0.1', port });
    pair = await makePair(server);
  });
  afterAll(async () => {
    await pair.remove();
    await server.stop();
    await relay.stop();
  });

  async function send(route: string): Promise<Exchange> {
    const args = ['--route', route, '--verbose'];
    const exchange = await pair.exchange(await pair.file('letter.txt', plain), {
      send: args,
      receive: args,
    });
    const { sent, received } = exchange;
    expect([sent.status, received.status, sent.route], sent.stderr).toEqual([0, 0, route]);
    return exchange;
  }

  const holdsPlain = (capture: Buffer) => readings(capture).some((bytes) => bytes.includes(MARK));

  it('a bytestream, the stanzas and --verbose show neither the bytes nor the key', async () => {
    const { sent, received } = await send('proxy');
    const stanzas = Buffer.from(await server.logText());
    expect(stanzas.includes('urn:xmpp:jingle:jet:0')).toBe(true);
    const taps = relay.connections();
    const carried = taps.find(({ up }) => up.length > plain.length)?.up.subarray(SOCKS_UP);
    if (carried === undefined) throw new Error('the bytes took another way');
    expect(carried.length).toBe(plain.length + 16);
    const said = Buffer.from(sent.stdout + sent.stderr + received.stdout + received.stderr);
    const captures = [stanzas, said, ...taps.flatMap(({ up, down }) => [up, down])];
    expect(captures.some(holdsPlain)).toBe(false);
    expect(huntKey(captures, plain, carried)).toBeUndefined();
  });

  it('in-band blocks show neither the bytes nor the key', async () => {
    const before = (await server.logText()).length;
    // What has landed already would not be sent again.
    for (const name of await pair.landed()) await rm(join(pair.out, name));
    const { sent, received } = await send('ibb');
    const log = (await server.logText()).slice(before);
    const blocks = new Map<number, Buffer>();
    for (const [data] of log.matchAll(/<data\b[^>]*>[^<]+<\/data>/g)) {
      if (!data.includes('http://jabber.org/protocol/ibb')) continue;
      const seq = Number(/seq='(\d+)'/.exec(data)?.[1]);
      blocks.set(seq, Buffer.from(/>([^<]+)</.exec(data)?.[1] ?? '', 'base64'));
    }
    const carried = Buffer.concat([...blocks].sort(([a], [b]) => a - b).map(([, bytes]) => bytes));
    expect(carried.length, sent.stderr + received.stderr).toBe(plain.length + 16);
    const capture = Buffer.from(log);
    expect(holdsPlain(capture) || carried.includes(MARK)).toBe(false);
    expect(huntKey([capture], plain, carried)).toBeUndefined();
  });
});
