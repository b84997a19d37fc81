import { describe, expect, it } from 'vitest';
import { Courtesies } from '../../../src/app/courtesies.ts';
import { NS_OMEMO } from '../../../src/omemo/names.ts';
import type { Omemo } from '../../../src/omemo/omemo.ts';
import { CapsCache } from '../../../src/xmpp/caps.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import { WAITING_JET } from '../../../src/xmpp/find.ts';
import { Presence } from '../../../src/xmpp/presence.ts';
import { xml } from '../../../src/xmpp/xml.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { createNetwork } from '../../support/network.ts';

/** OMEMO as far as greetings need it: what was sent to whom, and with whom there are sessions. */
class Greetings {
  readonly sent: string[] = [];
  readonly known = new Set<string>();
  hasSessions(jid: { bare: { toString(): string } }): boolean {
    return this.known.has(jid.bare.toString());
  }
  greet(to: { toString(): string; bare: { toString(): string } }, form: string): Promise<boolean> {
    const begun = !this.known.has(to.bare.toString());
    this.known.add(to.bare.toString());
    this.sent.push(`${form} ${to.toString()}`);
    return Promise.resolve(begun);
  }
}

function setUp(software: string, ...features: string[]) {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const me = network.connect('alice@x.org/jet');
  const peer = network.connect('bob@x.org/client');
  const disco = new Disco(me);
  new Disco(peer, software).addFeatures(...features);
  peer.audience = () => true;
  me.audience = () => true;
  const omemo = new Greetings();
  const presence = new Presence(me, disco, clock);
  const theirs = new Presence(peer, new Disco(network.connect('bob@x.org/x')), clock);
  const courtesies = new Courtesies({
    connection: me,
    omemo: omemo as unknown as Omemo,
    caps: new CapsCache(disco),
    presence,
    clock,
    log: () => undefined,
  });
  const offer = () => {
    const found = {
      jid: peer.jid,
      software,
      features: new Set(features),
      forms: [],
      isJet: features.includes(WAITING_JET),
    };
    let done = false;
    const quirks = courtesies.beforeOffer(found, new AbortController().signal);
    void quirks.finally(() => (done = true));
    return { quirks, done: () => done };
  };
  return { clock, me, peer, theirs, omemo, courtesies, offer };
}

describe('before an offer', () => {
  it('nothing is sent to who needs nothing, nor to a jet, whatever it calls itself', async () => {
    for (const [software, ...features] of [['Other'], ['Dino', WAITING_JET]] as [string][]) {
      const { omemo, offer } = setUp(software, ...features);
      expect(await offer().quirks).toMatchObject({ greeting: 'none' });
      expect(omemo.sent).toEqual([]);
    }
  });

  it('Dino is greeted where there is no session, and given a second', async () => {
    const { clock, omemo, offer } = setUp('Dino');
    const first = offer();
    await settle();
    expect(omemo.sent).toEqual(['unreadable bob@x.org/client']);
    await clock.advance(999);
    expect(first.done()).toBe(false);
    await clock.advance(1);
    expect(first.done()).toBe(true);
    await offer().quirks;
    expect(omemo.sent).toHaveLength(1);
  });

  it('Libervia is greeted always; the answer to a first greeting is waited for, at most so long', async () => {
    const { clock, peer, omemo, offer } = setUp('Libervia');
    const first = offer();
    await clock.advance(5000);
    expect(first.done()).toBe(false);
    const answer = xml('encrypted', { xmlns: NS_OMEMO });
    await peer.send(xml('message', { to: 'alice@x.org/jet' }, answer));
    await clock.advance(1000);
    expect(first.done()).toBe(true);
    omemo.known.clear();
    const second = offer();
    await clock.advance(10_999);
    expect(second.done()).toBe(false);
    await clock.advance(1);
    expect(second.done()).toBe(true);
    const third = offer();
    await clock.advance(1000);
    expect(third.done()).toBe(true);
    expect(omemo.sent).toHaveLength(3);
  });
});

describe('while jet waits', () => {
  it.each([
    ['Dino', true, 1],
    ['Dino', false, 0],
    ['Other', true, 0],
  ])('%s that comes online is greeted (allowed: %s): %i times', async (software, deals, times) => {
    const { me, theirs, omemo, courtesies } = setUp(software);
    const stop = courtesies.watch(() => deals);
    await theirs.direct(me.jid);
    await settle(20);
    await theirs.direct(me.jid);
    await settle(20);
    expect(omemo.sent).toHaveLength(times);
    stop();
  });

  it('one with whom there is a session is left alone', async () => {
    const { me, theirs, omemo, courtesies } = setUp('Libervia');
    omemo.known.add('bob@x.org');
    courtesies.watch(() => true);
    await theirs.direct(me.jid);
    await settle(20);
    expect(omemo.sent).toEqual([]);
  });
});
