/** The core against an independent implementation, in random order and with losses. */
import { randomBytes, randomInt } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import {
  acceptSession,
  decrypt,
  encrypt,
  generateKeyPair,
  LEGACY,
  matches,
  OMEMO2,
  parseKeyExchange,
  peekHeader,
  restoreSession,
  serialiseSession,
  signPreKey,
  startSession,
  type Profile,
  type SessionState,
} from '../../../src/omemo/crypto/index.ts';
import { hasPython, startPeer } from '../../support/python-peer.ts';

const seed = Number(process.env.JET_SEED ?? randomInt(2 ** 31));

function random(start: number) {
  let state = start >>> 0;
  return (below: number) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

interface Flight {
  message: string;
  isKeyExchange: boolean;
  data: string;
}

const un64 = (value: string) => Buffer.from(value, 'base64');

describe.skipIf(!hasPython)(`python3-oldmemo and python3-twomemo (JET_SEED=${seed})`, () => {
  const peer = startPeer();
  afterAll(() => {
    peer.stop();
  });

  async function converse(profile: Profile, weStart: boolean, start: number) {
    const pick = random(start);
    const identity = generateKeyPair();
    const signedPreKey = generateKeyPair();
    const preKeys = Array.from({ length: 5 }, (_, id) => ({ id: id + 1, pair: generateKeyPair() }));
    let session: SessionState | undefined;
    await peer.ask({ do: 'new', profile: profile.id });
    const theirs = await peer.ask({ do: 'bundle' });
    if (weStart) {
      const keys = theirs.preKeys.map(({ id, key }) => ({ id, key: un64(key) }));
      const choice = keys[pick(keys.length)];
      if (!choice) throw new Error('no prekey');
      session = startSession(
        profile,
        { identity, registrationId: 5 },
        {
          identityKey: un64(theirs.identityKey),
          signedPreKeyId: theirs.signedPreKeyId,
          signedPreKey: un64(theirs.signedPreKey),
          signature: un64(theirs.signature),
          preKeys: keys,
        },
        choice,
      );
    } else {
      await peer.ask({
        do: 'learn',
        identityKey: profile.identityOf(identity).toString('base64'),
        signedPreKeyId: 3,
        signedPreKey: signedPreKey.pub.toString('base64'),
        signature: signPreKey(profile, identity.priv, signedPreKey.pub).toString('base64'),
        preKeys: preKeys.map(({ id, pair }) => ({ id, key: pair.pub.toString('base64') })),
      });
    }
    const toUs: Flight[] = [];
    const toThem: Flight[] = [];
    let theyCanSend = !weStart;
    const met = new Set<string>();
    let delivered = 0;
    let lost = 0;
    const take = (from: Flight[]) => from.splice(pick(Math.min(from.length, 8)), 1)[0];
    for (let step = 0; step < 1500; step++) {
      const data = randomBytes(profile.id === 'legacy' ? 32 : 48).toString('base64');
      const action = pick(9);
      if (action < 2) {
        if (!session?.ratchet.sending) continue;
        const out = encrypt(session, un64(data));
        session = restoreSession(serialiseSession(out.state));
        const { isKeyExchange } = out;
        toThem.push({ message: out.message.toString('base64'), isKeyExchange, data });
      } else if (action < 4) {
        if (!theyCanSend) continue;
        const out = await peer.ask({ do: 'encrypt', data });
        toUs.push({ message: out.message, isKeyExchange: out.isKeyExchange, data });
      } else if (action < 6) {
        const flight = take(toThem);
        if (!flight) continue;
        const answer = await peer.ask({ do: 'decrypt', ...flight });
        expect(answer.data).toBe(flight.data);
        theyCanSend = true;
        delivered++;
      } else if (action < 8) {
        const flight = take(toUs);
        if (!flight) continue;
        let message: Buffer = un64(flight.message);
        if (flight.isKeyExchange) {
          const exchange = parseKeyExchange(profile, message);
          message = exchange.message;
          if (session) {
            expect(matches(session, exchange)).toBe(true);
          } else {
            const preKey = preKeys.find(({ id }) => id === exchange.preKeyId)?.pair;
            if (!preKey) throw new Error('an unknown prekey');
            expect(exchange.signedPreKeyId).toBe(3);
            session = acceptSession(profile, identity, exchange, { signedPreKey, preKey });
          }
        }
        if (!session) throw new Error('no session');
        const { ratchetKey } = peekHeader(profile, message);
        const name = ratchetKey.toString('hex');
        const kept = session.ratchet.receiving.some((one) => one.ratchetKey.equals(ratchetKey));
        if (met.has(name) && !kept) {
          // Five chains are kept: what is left of an older one may be lost.
          lost++;
          continue;
        }
        met.add(name);
        const back = decrypt(session, message, { maxAdvance: 10_000 });
        expect(back.plaintext.toString('base64')).toBe(flight.data);
        session = restoreSession(serialiseSession(back.state));
        delivered++;
      } else if (pick(4) === 0) {
        take(pick(2) === 0 ? toUs : toThem);
      }
    }
    expect(delivered).toBeGreaterThan(400);
    expect(lost).toBeLessThan(delivered / 5);
  }

  for (const profile of [LEGACY, OMEMO2]) {
    for (const weStart of [true, false]) {
      it(`${profile.id}, ${weStart ? 'we' : 'they'} start`, async () => {
        for (let round = 0; round < 3; round++) await converse(profile, weStart, seed + round);
      });
    }
  }
});
