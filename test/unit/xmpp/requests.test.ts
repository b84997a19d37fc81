import { expect, test } from 'vitest';
import type { Clock } from '../../../src/core/clock.ts';
import type { Jid } from '../../../src/core/jid.ts';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { Requests } from '../../../src/xmpp/requests.ts';
import { Responder } from '../../../src/xmpp/responder.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { address } from '../../support/address.ts';

const own = address('me@home.org/r');
const peer = address('you@away.org/x');

/** Runs every timer at once when told to. */
function stopped(): Clock & { run(): void } {
  const actions = new Set<() => void>();
  return {
    now: () => 0,
    monotonic: () => 0,
    after(_ms, action) {
      actions.add(action);
      return () => actions.delete(action);
    },
    run: () => {
      for (const action of [...actions]) action();
    },
  };
}

test('a request ends by its reply, in time, by its signal or with the stream', async () => {
  const clock = stopped();
  const requests = new Requests(clock);
  const answered = requests.add('1', peer, {});
  requests.settle(xml('iq', { type: 'result', id: '1' }, xml('forged')), address('eve@x.org'), own);
  requests.settle(xml('iq', { type: 'result', id: '1' }, xml('right')), peer, own);
  expect((await answered)?.name).toBe('right');
  const late = requests.add('2', peer, {});
  clock.run();
  await expect(late).rejects.toMatchObject({ condition: 'remote-server-timeout' });
  const lost = requests.add('3', peer, {});
  requests.failAll();
  await expect(lost).rejects.toMatchObject({ condition: 'disconnect' });
  const reason = new Error('stop');
  await expect(requests.add('4', peer, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test('only the audience is answered; what a handler throws is no secret told', async () => {
  const out: string[] = [];
  let told: (() => void) | undefined;
  const responder = new Responder({
    jid: () => own,
    audience: (from) => from.equals(peer),
    send: (stanza) => {
      out.push(stanza.toString());
      told?.();
      return Promise.resolve();
    },
  });
  const ask = (from: Jid, name: string, id = 'i') =>
    new Promise<void>((resolve) => {
      told = resolve;
      responder.take(
        xml('iq', { type: 'get', id, from: from.toString() }, xml(name, { xmlns: 'n' })),
        from,
      );
    });
  responder.on('n', 'a', () => xml('fine', { xmlns: 'n' }));
  responder.on('n', undefined, () => {
    throw new Error('inner matters');
  });
  responder.on('n', 'c', () => {
    throw new StanzaError('modify', 'bad-request');
  });
  await ask(peer, 'a');
  await ask(peer, 'b');
  await ask(peer, 'c');
  await ask(address('eve@x.org'), 'a');
  const long = 'i'.repeat(1025);
  await ask(address('eve@x.org'), 'a', long);
  await ask(peer, 'a', long);
  for (const from of [own.bare, address(own.domain), address(`${own.bare.toString()}/other`)])
    await ask(from, 'a');
  expect(out[0]).toContain('<fine');
  expect(out[1]).toContain('internal-server-error');
  expect(out[1]).not.toContain('inner');
  expect(out[2]).toContain('bad-request');
  expect(out[3]).toContain('service-unavailable');
  // Of a request that is refused to others, too, a stranger learns no more.
  expect(out[4]).toBe(out[3]?.replace('id="i"', `id="${long}"`));
  expect(out[5]).toContain('bad-request');
  // The server speaks for the account; another client of it is one like any other.
  expect(out.slice(6).map((answer) => answer.includes('<fine'))).toEqual([true, true, false]);
});
