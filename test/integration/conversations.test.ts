/** A real `jet` and Conversations as its source has it speak (docs/interop-sources.md), over a real server. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { address } from '../support/address.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { ended, noise, type Ended } from '../support/pair.ts';
import { Client, PASSWORD, terminate } from '../support/people.ts';
import { BOUND, canBind } from '../support/permissions.ts';
import { Conversations } from '../support/peers/conversations.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const present = await hasProsody();
const ROUTES = ['direct', 'proxy', 'ibb'];
/** Every route, and the borders of the tag and of its buffer. */
const FILES: readonly (readonly [string, number])[] = [
  ...ROUTES.flatMap((route) => [[route, 0] as const, [route, 300_001] as const]),
  ...[1, 16, 4080, 4096].map((size) => ['direct', size] as const),
];

describe.skipIf(!present)('Conversations 2.19.15', () => {
  let server: Prosody;
  let alice: JetHome;
  let phone: Conversations;

  beforeAll(async () => {
    // With the default one Prosody 0.12's proxy can hold back the last bytes of who keeps the stream open.
    server = await startProsody({ backend: 'select' });
    for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
    await server.befriend('alice', 'bob');
    alice = await jetHome(server, 'alice', PASSWORD);
    phone = await Conversations.open(server, 'bob');
  });
  afterAll(async () => {
    await phone.close();
    await alice.remove();
    await server.stop();
  });

  describe('gets what jet sends', () => {
    let file: string;
    let content: Buffer;
    const send = (...args: string[]) =>
      alice.start(['send', '--json', ...args, file, 'bob@jet.test']);
    const make = async (size: number) => {
      content = noise(size);
      file = join(alice.home, `to-bob-${size}.bin`);
      await writeFile(file, content);
    };

    it.each(FILES)('by %s, of %i bytes', async (route, size) => {
      await make(size);
      const receiving = phone.receive();
      const sent = await ended(send('--route', route));
      expect(sent, sent.stderr).toMatchObject({ status: 0, route });
      expect(sent.event('end')).toMatchObject({ status: 'delivered', bytes: size });
      expect(await receiving).toEqual({ state: 'success', saved: content, tagHeld: true });
    });

    it('where it uses relays only: of its own proxy', async () => {
      await make(300_001);
      const receiving = phone.receive({ relays: true });
      const sent = await ended(send());
      expect(sent, sent.stderr).toMatchObject({ status: 0, route: 'proxy' });
      expect(await receiving).toMatchObject({ state: 'success', saved: content, tagHeld: true });
    });

    it.skipIf(!canBind)('of a folder, without what may not be read', async () => {
      const folder = join(alice.home, 'trip');
      await mkdir(join(folder, 'closed'), { recursive: true });
      await mkdir(join(folder, 'shut'));
      await writeFile(join(folder, 'photo'), 'photo');
      for (const name of ['closed', 'shut']) await chmod(join(folder, name), 0);
      const receiving = phone.receive();
      const args = ['send', '--json', folder, 'bob@jet.test'];
      const sent = await ended(alice.start(args, { prefix: BOUND }));
      expect(sent, sent.stderr).toMatchObject({ status: 10 });
      expect(await receiving).toMatchObject({ state: 'success', saved: Buffer.from('photo') });
      expect(sent.stderr.trimEnd().split('\n').at(-1)).toBe(
        `jet: 2 of 3 did not reach bob@jet.test: ${folder}/closed, ${folder}/shut.`,
      );
    });

    it('unless its user declines', async () => {
      await make(1000);
      const receiving = phone.receive({ decline: true });
      const sent = await ended(send());
      expect(sent.status).toBe(5);
      expect(sent.stderr).toMatch(/bob@jet\.test declined to-bob-1000\.bin\./);
      expect(await receiving).toEqual({ state: 'declined' });
    });

    it.each(ROUTES)(
      'unless its user stops it in the middle, by %s: it says «decline»',
      async (route) => {
        await make(300_001);
        const receiving = phone.receive({ stopAfter: 50_000 });
        const sent = await ended(send('--route', route, '--limit-rate', '100k'));
        expect(sent, sent.stderr).toMatchObject({ status: 7 });
        expect(sent.stderr).toMatch(/was not sent to bob@jet\.test: the other side cancelled/);
        expect((await receiving).state).toBe('declined');
      },
    );

    it('unless jet is interrupted in the middle', async () => {
      await make(3_000_000);
      const receiving = phone.receive();
      const sending = send('--limit-rate', '200k');
      await sending.said(/"event":"progress".*"bytes":[1-9]/);
      sending.child.kill('SIGINT');
      expect((await sending.ended).stderr).toMatch(/Cancelled/);
      expect((await receiving).state).toBe('cancelled');
    });

    it('and says success for ciphertext where it found no key: jet never calls that verified', async () => {
      await make(300_001);
      const receiving = phone.receive({ keyless: true });
      const sent = await ended(send());
      const got = await receiving;
      expect(got.state).toBe('success');
      expect(got.saved?.equals(content)).toBe(false);
      expect(sent.stdout).not.toMatch(/"verified"/);
    });
  });

  describe('sends to jet', () => {
    let out: string;
    let count = 0;
    const receive = async (...args: string[]): Promise<{ receiving: JetProcess; to: string }> => {
      out = join(alice.home, `out-${count++}`);
      await mkdir(out);
      const watcher = await Client.open(server, 'bob');
      const receiving = alice.start([
        'receive',
        '--json',
        '--yes',
        '--once',
        '--out',
        out,
        ...args,
      ]);
      const to = await watcher.jet('alice@jet.test');
      await watcher.connection.close();
      return { receiving, to };
    };

    it.each(FILES)('by %s, of %i bytes', async (route, size) => {
      const content = noise(size);
      const { receiving, to } = await receive('--route', route);
      const sent = await phone.send(address(to), {
        name: 'photo.jpg',
        content,
        mediaType: 'image/jpeg',
      });
      const received = await ended(receiving);
      expect(received, received.stderr).toMatchObject({ status: 0, route });
      expect(received.event('end')).toMatchObject({ status: 'verified', bytes: size });
      expect((await readFile(join(out, 'photo.jpg'))).equals(content)).toBe(true);
      expect(sent).toEqual({ state: 'success' });
    });

    it('in-band from the start where it uses relays', async () => {
      const content = noise(50_000);
      const { receiving, to } = await receive();
      const sent = await phone.send(address(to), { name: 'a.bin', content }, { relays: true });
      const received = await ended(receiving);
      expect(received, received.stderr).toMatchObject({ status: 0, route: 'ibb' });
      expect(sent).toEqual({ state: 'success' });
    });

    it('and is told that jet declines', async () => {
      const { receiving, to } = await receive('--max-size', '10');
      const sent = await phone.send(address(to), { name: 'big.bin', content: noise(1000) });
      expect(await terminate(receiving)).toBe(0);
      expect(sent.state).toBe('connectivity-error');
    });

    it.each(ROUTES)('and is stopped by its user in the middle, by %s', async (route) => {
      const { receiving, to } = await receive('--route', route);
      const manner = { stopAfter: 100_000 };
      const sent = await phone.send(
        address(to),
        { name: 'b.bin', content: noise(900_000) },
        manner,
      );
      expect(sent.state).toBe('cancelled');
      const received: Ended = await ended(receiving);
      expect(received.status).toBe(7);
      expect(received.stderr).toMatch(/the other side cancelled the transfer/);
    });
  });
});
