import { readFile } from 'node:fs/promises';
import { connect as tcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.ts';
import { connect, type ConnectOptions } from '../../src/xmpp/connect.ts';
import type { Connection, ConnectionState } from '../../src/xmpp/connection.ts';
import { register } from '../../src/xmpp/register.ts';
import { xml } from '../../src/xmpp/xml.ts';
import { address } from '../support/address.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

let prosody: Prosody;
let ca: Buffer;

beforeAll(async () => {
  prosody = await startProsody({ registration: true });
  ca = await readFile(prosody.caFile);
  await prosody.addAccount('romeo', 'pässword');
  await prosody.addAccount('juliet', 'secret');
}, 60_000);

afterAll(() => prosody.stop());

function options(name = 'romeo', password = 'pässword'): ConnectOptions {
  return {
    jid: address(`${name}@${prosody.domain}`),
    password: () => password,
    server: { host: '127.0.0.1', port: prosody.port, tls: false },
    ca,
    clock: systemClock,
  };
}

function until<T>(watch: (found: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve) => {
    watch(resolve);
  });
}

test('logs in by STARTTLS and by direct TLS, asks and answers', async () => {
  const lines: string[] = [];
  const romeo = await connect({ ...options(), log: (line) => lines.push(line) });
  const juliet = await connect({
    ...options('juliet', 'secret'),
    server: { host: '127.0.0.1', port: prosody.directTlsPort, tls: true },
  });
  expect(romeo.loopback).toBe(true);
  expect(romeo.jid.resource).toMatch(/^jet\./);
  expect(lines.join('\n')).toMatch(/mechanism="SCRAM-SHA-/);
  const items = 'http://jabber.org/protocol/disco#info';
  expect((await romeo.iq(null, 'get', xml('query', { xmlns: items })))?.getNS()).toBe(items);
  const ping = xml('ping', { xmlns: 'urn:xmpp:ping' });
  await expect(romeo.iq(juliet.jid, 'get', ping)).rejects.toMatchObject({
    condition: 'service-unavailable',
  });
  juliet.audience = (from) => from.equals(romeo.jid);
  expect(await romeo.iq(juliet.jid, 'get', ping)).toBeUndefined();
  const text = 'é€😀'.repeat(20_000);
  const heard = until<string>((found) =>
    juliet.onMessage((message, from) => {
      if (from.equals(romeo.jid)) found(message.getChildText('body') ?? '');
    }),
  );
  await romeo.send(
    xml('message', { to: juliet.jid.toString(), type: 'chat' }, xml('body', {}, text)),
  );
  expect(await heard).toBe(text);
  await Promise.all([romeo.close(), juliet.close()]);
});

test('logs in by SCRAM-SHA-256, the password typed in another form than it was made', async () => {
  const modern = await startProsody({ extra: '  password_hash = "SHA-256"' });
  try {
    await modern.addAccount('romeo', '\u00fcber IX');
    const lines: string[] = [];
    const romeo = await connect({
      ...options('romeo', 'u\u0308ber\u00a0\u2168'),
      ca: await readFile(modern.caFile),
      server: { host: '127.0.0.1', port: modern.port, tls: false },
      log: (line) => lines.push(line),
    });
    await romeo.close();
    expect(lines.join('\n')).toMatch(/<auth [^>]*mechanism="SCRAM-SHA-256"/);
  } finally {
    await modern.stop();
  }
});

test('says what is wrong', async () => {
  const wrong = [
    [options('romeo', 'no'), 'wrong-password'],
    [{ ...options(), ca: undefined }, 'untrusted-certificate'],
    [{ ...options(), server: { host: '127.0.0.1', port: 1, tls: false } }, 'server-unreachable'],
  ] as const;
  for (const [{ ca: roots, ...rest }, code] of wrong)
    await expect(
      connect({ ...rest, ...(roots === undefined ? {} : { ca: roots }) }),
    ).rejects.toMatchObject({ code, exit: 3 });
});

test('registers, and says when the name is taken', async () => {
  await register(options('mercutio', 'pw'));
  await expect(register(options('mercutio', 'pw'))).rejects.toMatchObject({
    code: 'registration-refused',
  });
  await (await connect(options('mercutio', 'pw'))).close();
});

test('a session outlives its connection, and nothing is lost', async () => {
  const sockets = new Set<Socket>();
  const relay = createServer((inner) => {
    const outer = tcp(prosody.port, '127.0.0.1');
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        inner.destroy();
        outer.destroy();
      });
    }
    inner.pipe(outer).pipe(inner);
  });
  await new Promise<void>((resolve) => {
    relay.listen(0, '127.0.0.1', resolve);
  });
  const { port } = relay.address() as AddressInfo;
  const romeo: Connection = await connect({
    ...options(),
    server: { host: '127.0.0.1', port, tls: false },
  });
  const juliet = await connect(options('juliet', 'secret'));
  const heard: string[] = [];
  const all = until<undefined>((found) =>
    juliet.onMessage((message) => {
      heard.push(message.getChildText('body') ?? '');
      if (heard.length === 3) found(undefined);
    }),
  );
  const say = (body: string) =>
    romeo.send(xml('message', { to: juliet.jid.toString(), type: 'chat' }, xml('body', {}, body)));
  const states: ConnectionState[] = [];
  const lost = until<undefined>((found) =>
    romeo.onState((state) => {
      states.push(state);
      if (state.kind === 'lost') found(undefined);
    }),
  );
  await say('1');
  for (const socket of sockets) socket.destroy();
  await lost;
  await Promise.all([say('2'), say('3')]);
  await all;
  expect(heard).toEqual(['1', '2', '3']);
  expect(states.at(-1)).toEqual({ kind: 'online', resumed: true });
  await Promise.all([romeo.close(), juliet.close()]);
  relay.close();
}, 30_000);
