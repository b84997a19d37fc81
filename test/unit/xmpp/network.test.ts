import xml from '@xmpp/xml';
import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork } from '../../support/network.ts';

test('requests reach full addresses, answers come back, absence is an error', async () => {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const a = network.connect('a@x.org/1');
  const b = network.connect('b@x.org/1');
  b.onIq('urn:test', 'q', (iq) => xml('r', { xmlns: 'urn:test' }, iq.from.toString()));
  const ask = () => a.iq(b.jid, 'get', xml('q', { xmlns: 'urn:test' }));
  await expect(ask()).rejects.toMatchObject({ condition: 'service-unavailable' });
  b.audience = (from) => from.sameBare(a.jid);
  expect((await ask())?.text()).toBe('a@x.org/1');
  b.freeze();
  const silent = expect(ask()).rejects.toMatchObject({ condition: 'remote-server-timeout' });
  await clock.advance(20_000);
  await silent;
  b.drop();
  await expect(ask()).rejects.toMatchObject({ condition: 'service-unavailable' });
  expect(clock.pending).toBe(0);
});

test('directed presence ends with the stream', async () => {
  const network = createNetwork({ clock: new FakeClock() });
  const a = network.connect('a@x.org/1');
  const b = network.connect('b@x.org/1');
  const seen: string[] = [];
  b.onPresence((presence, from) => seen.push(`${from.toString()} ${presence.attrs['type'] ?? ''}`));
  await b.send(xml('presence', {}, xml('priority', {}, '-1')));
  await a.send(xml('presence', { to: Jid.parse('b@x.org')?.toString() }));
  await settle();
  a.drop();
  await settle();
  expect(seen).toEqual(['b@x.org/1 ', 'a@x.org/1 ', 'a@x.org/1 unavailable']);
});
