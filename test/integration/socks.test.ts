/** Everything through the user's own SOCKS5 proxy. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ended, makePair, noise, type Pair } from '../support/pair.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { startSocks, type SocksServer } from '../support/socks.ts';

/** An address that is nowhere: only the proxy knows the way. */
const STREAMHOST = '192.0.2.9';
const PRELOAD = new URL('../support/lookups.mjs', import.meta.url).href;

let server: Prosody;
let socks: SocksServer;
let pair: Pair;

beforeAll(async () => {
  server = await startProsody({ proxyAddress: STREAMHOST });
  socks = await startSocks({
    'jet.test:5222': { host: '127.0.0.1', port: server.port },
    [`${STREAMHOST}:${server.proxyPort}`]: { host: '127.0.0.1', port: server.proxyPort },
  });
  pair = await makePair(server);
});

afterAll(async () => {
  await pair.remove();
  await socks.stop();
  await server.stop();
});

test('both sides behind JET_PROXY: stream and bytes go through it, no name is looked up here, no address is told', async () => {
  const folder = join(pair.out, '..');
  const lookups = join(folder, 'lookups');
  await writeFile(lookups, '');
  const env = {
    JET_SERVER: undefined,
    JET_PROXY: `socks5://127.0.0.1:${socks.port}`,
    NODE_OPTIONS: `--import ${PRELOAD}`,
    LOOKUPS_FILE: lookups,
  };
  const content = noise(400_000);
  const file = await pair.file('through.bin', content);
  const out = join(folder, 'landed');
  await mkdir(out);
  const receive = ['receive', '--yes', '--once', '--json', '--verbose', '--out', out];
  const receiver = pair.bob.start(receive, { env });
  const sender = pair.alice.start(['send', '--json', '--verbose', file, pair.bob.jid], { env });
  const [sent, received] = await Promise.all([ended(sender), ended(receiver)]);
  expect(sent.status, sent.stderr).toBe(0);
  expect(received.status, received.stderr).toBe(0);
  expect((await readFile(join(out, 'through.bin'))).equals(content)).toBe(true);
  const told = sent.stderr + received.stderr;
  expect(sent.event('start')?.['route'], told).toEqual({ kind: 'proxy', via: 'proxy.jet.test' });
  expect(await readFile(lookups, 'utf8')).toBe('');
  // Names reach the proxy as names, and nothing but the server and its streamhost was asked for.
  expect(new Set(socks.asked)).toEqual(
    new Set(['jet.test:5222', `${STREAMHOST}:${server.proxyPort}`]),
  );
  for (const { stderr } of [sent, received]) {
    expect(stderr).toContain('<candidate ');
    expect(stderr).not.toMatch(/<candidate [^>]*type="(?:direct|assisted)"/);
  }
});

test('the look-ups of a side without a proxy would have been seen', async () => {
  const lookups = join(pair.out, '..', 'seen');
  await writeFile(lookups, '');
  const env = {
    JET_SERVER: `localhost:${server.port}`,
    NODE_OPTIONS: `--import ${PRELOAD}`,
    LOOKUPS_FILE: lookups,
  };
  expect((await pair.alice.run(['devices'], { env })).status).toBe(0);
  expect(await readFile(lookups, 'utf8')).toContain('GETADDRINFOREQWRAP');
});

test('a proxy that does not know the way is an account error with a sentence', async () => {
  const nowhere = await startSocks({});
  const env = { JET_SERVER: undefined, JET_PROXY: `socks5://127.0.0.1:${nowhere.port}` };
  const { status, stderr } = await pair.alice.run(['devices'], { env });
  await nowhere.stop();
  expect(status).toBe(3);
  expect(stderr).toMatch(/^jet: The server of jet\.test cannot be reached \(.*\)\. Check .*\n$/);
  // STARTTLS first, then TLS from the first byte: both by name.
  expect(nowhere.asked).toEqual(['jet.test:5222', 'jet.test:5223']);
});
