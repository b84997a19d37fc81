/** A hostile server that leads the bytes of two jets to itself: it gets nothing of them, and nothing wrong lands. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { randomId } from '../../src/core/bytes.ts';
import { xml, type Element } from '../../src/xmpp/xml.ts';
import {
  all,
  attack,
  copy,
  honest,
  jingleOf,
  setScene,
  together,
  type Scene,
} from '../support/hostile.ts';
import { huntKey, readings } from '../support/key-hunt.ts';
import { ended, linesOf } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';
import { startRelay, type Relay } from '../support/relay.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';
import { edit } from '../support/stored.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const MARK = 'What nobody on the way may read. ';
const content = Buffer.from(MARK.repeat(1000));
/** Greeting and request of SOCKS5 (RFC 1928) with a destination of 40 characters. */
const SOCKS_UP = 3 + 4 + 1 + 40 + 2;
/** What a proxy or listener says: choice of method, then the reply with the destination. */
const SOCKS_DOWN = 2 + 4 + 1 + 40 + 2;
const HOST = '127.0.0.1';
/** The tag was wrong: hashes, which would tell as well, are looked at after it. */
const DAMAGED = /what came is not what the sender encrypted/;

/** The relay of the attacker, and whom it takes the bytes to. */
interface Tap {
  readonly relay: Relay;
  to: number;
}

describe.skipIf(!(await hasProsody()) || process.platform !== 'linux')('candidates', () => {
  let scene: Scene;
  const cleanup: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    scene = await setScene();
  });
  afterEach(async () => {
    for (const action of cleanup.splice(0)) await action();
  });
  afterAll(() => scene.close());

  async function tap(damage: number, to = 0): Promise<Tap> {
    const made: { to: number } = { to };
    const place = () => ({ host: HOST, port: made.to });
    const relay = await startRelay({ host: HOST, port: 0 }, place, damage);
    cleanup.push(() => relay.stop());
    return Object.assign(made, { relay });
  }

  /** Changes the candidates of one kind on their way to the peer. */
  const candidates = (type: string, change: (candidate: Element) => void): Rewrite => {
    return (stanza, { direction }) => {
      if (direction === 'down' && jingleOf(stanza))
        for (const candidate of all(stanza, 'candidate'))
          if (candidate.attrs['type'] === type) change(candidate);
      return stanza;
    };
  };

  /** Whoever reads both the bytes and every stanza has neither the text nor the key. */
  function expectNothingLearnt(bytes: readonly Buffer[], carried: Buffer | undefined): void {
    const captures = [...bytes, Buffer.from(scene.relay.seen)];
    expect(captures.some((one) => readings(one).some((text) => text.includes(MARK)))).toBe(false);
    expect(carried?.length ?? 0).toBeGreaterThan(32);
    if (carried) expect(huntKey(captures, content, carried)).toBeUndefined();
  }

  /** Both sides call it a security error, nothing has landed, and what the attacker carried tells nothing. */
  function expectDamageSeen(
    { sent, received, landed }: Awaited<ReturnType<typeof attack>>,
    taps: readonly { readonly up: Buffer; readonly down: Buffer }[],
  ): void {
    const told = sent.stderr + received.stderr;
    expect([sent.status, received.exit, landed], told).toEqual([6, 6, false]);
    expect(received.stderr).toMatch(DAMAGED);
    const carried = taps.map(({ up }) => up.subarray(SOCKS_UP)).find(({ length }) => length > 99);
    expectNothingLearnt(
      taps.flatMap(({ up, down }) => [up, down]),
      carried,
    );
  }

  test.each([
    ['a byte in the middle', SOCKS_UP + 5000],
    ['a byte of the tag', SOCKS_UP + content.length + 15],
  ])('of an attacker between, who changes %s: nothing lands', async (_, damage) => {
    const attacker = await tap(damage);
    await scene.receive('--route', 'direct');
    const rewrite = candidates('direct', (candidate) => {
      // Bob's candidates are those that the sender prefers where both are reached.
      attacker.to = Number(candidate.attrs['port']);
      candidate.attrs['port'] = String(attacker.relay.port);
    });
    // Alice offers none, so that there is one way only.
    const oneWay: Rewrite = (stanza, { account, direction }) => {
      if (account === 'bob0' && direction === 'down' && jingleOf(stanza))
        for (const candidate of all(stanza, 'candidate')) candidate.attrs['port'] = '9';
      return stanza;
    };
    const toAlice: Rewrite = (stanza, way) =>
      way.account === 'alice0' ? rewrite(stanza, way) : oneWay(stanza, way);
    const attacked = await attack(scene, toAlice, { content, send: ['--route', 'direct'] });
    expectDamageSeen(attacked, attacker.relay.connections());
  });

  test('of an attacker who takes the bytes and has success forged: no success, no leak', async () => {
    const swallowed: Buffer[] = [];
    const sockets = new Set<Socket>();
    let carried: () => void = () => undefined;
    const whole = new Promise<void>((resolve) => (carried = resolve));
    const attacker = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      const answers = [3, SOCKS_UP];
      let got = Buffer.alloc(0);
      const at = swallowed.push(got) - 1;
      socket.on('data', (data: Buffer) => {
        swallowed[at] = got = Buffer.concat([got, data]);
        while (got.length >= (answers[0] ?? Infinity))
          socket.write(
            answers.shift() === 3
              ? Buffer.from([5, 0])
              : Buffer.concat([Buffer.from([5, 0]), got.subarray(5, SOCKS_UP)]),
          );
        if (got.length === SOCKS_UP + content.length + 16) carried();
      });
    }).listen(0, HOST);
    await once(attacker, 'listening');
    cleanup.push(async () => {
      for (const socket of sockets) socket.destroy();
      attacker.close();
      await once(attacker, 'close');
    });
    const { port } = attacker.address() as AddressInfo;
    let sid = '';
    let bob = '';
    const note: Rewrite = (stanza, { account, direction }) => {
      const jingle = jingleOf(stanza, 'session-initiate');
      if (account === 'alice0' && direction === 'up' && jingle) {
        sid = jingle.attrs['sid'] ?? '';
        bob = stanza.attrs['to'] ?? '';
      }
      return stanza;
    };
    const lead = candidates('direct', (candidate) => {
      candidate.attrs['port'] = String(port);
    });
    void whole.then(() => {
      const reason = xml('reason', {}, xml('success'));
      const attrs = { xmlns: 'urn:xmpp:jingle:1', action: 'session-terminate', sid };
      const jingle = xml('jingle', attrs, reason);
      const iq = xml('iq', { type: 'set', id: randomId(), from: bob }, jingle);
      scene.relay.forge('alice0', 'down', iq);
    });
    await scene.receive('--route', 'direct');
    const attacked = await attack(scene, together(note, lead), {
      content,
      send: ['--route', 'direct'],
    });
    const { sent, received, landed } = attacked;
    expect([sent.status, received.exit, landed], sent.stderr + received.stderr).toEqual([
      6,
      7,
      false,
    ]);
    expect(sent.stderr).toMatch(/its sealed receipt is missing: somebody may have forged this/);
    const stream = swallowed.find(({ length }) => length > content.length)?.subarray(SOCKS_UP);
    expectNothingLearnt(swallowed, stream);
  });

  test.each([
    ['towards the receiver', SOCKS_DOWN + 5000],
    ['from the sender', SOCKS_UP + 5000],
  ])('of a proxy that is the attacker and changes bytes %s: nothing lands', async (_, damage) => {
    const attacker = await tap(damage, scene.server.proxyPort);
    const own: Rewrite = (stanza, { direction }) => {
      if (direction === 'down')
        for (const host of all(stanza, 'streamhost'))
          host.attrs['port'] = String(attacker.relay.port);
      return stanza;
    };
    // A jet that waits asks for its proxies at once, unless it remembers them.
    for (const home of [scene.pair.alice, scene.pair.bob]) edit(home, 'DELETE FROM s5b_proxy');
    scene.relay.rewrite = own;
    await scene.receive('--route', 'proxy');
    const attacked = await attack(scene, own, { content, send: ['--route', 'proxy'] });
    expectDamageSeen(attacked, attacker.relay.connections());
  });

  test('of which all lead nowhere: the bytes go in-band, and are as safe there', async () => {
    await scene.receive();
    const nowhere: Rewrite = (stanza, { direction }) => {
      if (direction === 'down')
        for (const name of ['candidate', 'streamhost'])
          for (const host of all(stanza, name)) host.attrs['port'] = '9';
      return stanza;
    };
    const { sent, received, landed } = await attack(scene, nowhere, { content });
    expect([sent.status, received.exit, landed], sent.stderr + received.stderr).toEqual([
      0,
      0,
      true,
    ]);
    expect(sent.route).toBe('ibb');
    expect(scene.relay.seen).not.toContain(MARK);
  });

  let struck = 0;
  /** Changes the second block of a file on its way to bob. */
  const blocks = (change: (block: Element, stanza: Element) => Element[]): Rewrite => {
    const data = 'http://jabber.org/protocol/ibb';
    let count = 0;
    return (stanza, { account, direction }) => {
      const block =
        account === 'bob0' && direction === 'down' ? stanza.getChild('data', data) : undefined;
      if (!block || ++count !== 2) return stanza;
      struck++;
      return change(block, stanza);
    };
  };
  const flipped = () =>
    blocks((block, stanza) => {
      const bytes = Buffer.from(block.getText(), 'base64');
      bytes[7] = (bytes[7] ?? 0) ^ 1;
      block.children = [bytes.toString('base64')];
      return [stanza];
    });

  test('in-band blocks that are changed land nothing; with one left out or repeated the right file lands all the same', async () => {
    const again = blocks((_, stanza) => {
      const copied = copy(stanza);
      copied.attrs['id'] = randomId();
      return [stanza, copied];
    });
    const leftOut = blocks(() => []);
    await scene.receive('--route', 'ibb');
    struck = 0;
    for (const [rewrite, status] of [
      [flipped(), 6],
      [again, 0],
      [leftOut, 0],
    ] as const) {
      const attacked = await attack(scene, rewrite, { content, send: ['--route', 'ibb'] });
      const { sent, received, landed } = attacked;
      const told = sent.stderr + received.stderr;
      expect([sent.status, received.exit, landed], told).toEqual([status, status, status === 0]);
      if (status !== 0) expect(told).toMatch(DAMAGED);
    }
    expect(struck).toBe(3);
  });

  test('bytes that are changed on their way to standard output: a loud failure on both sides', async () => {
    const { relay, pair } = scene;
    const known = relay.online('bob0');
    const reading = pair.bob.start(['receive', '--json', '--yes', '--stdout', pair.alice.jid]);
    await reading.said(/"event":"waiting"/);
    const jid = relay.online('bob0').find((one) => !known.includes(one)) ?? '';
    relay.rewrite = flipped();
    const file = await pair.file('piped.bin', content);
    const args = ['send', '--json', '--route', 'ibb', file, jid];
    const sent = await ended(pair.alice.start(args));
    const { status, stdout, stderr } = await reading.ended;
    relay.rewrite = honest;
    // What had been written cannot be taken back: the status and a sentence say that it is of no use.
    expect(stdout.length, stderr).toBeGreaterThan(0);
    expect(stdout).not.toBe(content.toString());
    expect([status, sent.status], stderr + sent.stderr).toEqual([6, 6]);
    expect(stderr).toMatch(DAMAGED);
    expect(stderr).toMatch(/written to standard output is NOT the verified file: do not use it\./);
    expect(linesOf(stderr).filter(({ event }) => event === 'end')).toMatchObject([
      { status: 'failed', exit: 6 },
    ]);
    expect(sent.stdout + sent.stderr + stderr).not.toMatch(/: verified|"verified"|delivered/);
  });
});
