/** The OMEMO state of a test vector's reader, as `jet` keeps it: the store holds the vector's keys. */
import type { VectorDevice } from '../../scripts/jet/format.ts';
import type { Envelope } from '../../src/jet/envelope.ts';
import { keyPairOf } from '../../src/omemo/crypto/index.ts';
import { parse } from '../../src/xmpp/xml.ts';
import { FakeClock } from './clock.ts';
import { jid, World } from './omemo-world.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

/** The signatures are published, which no reader of vectors does. */
const UNSIGNED = Buffer.alloc(64);

/** A device that was opened for one vector. */
export interface OpenDevice {
  readonly envelope: Envelope;
  close(): void;
}

/**
 * Puts the device into a store of its own, trusts whom it trusts, and has it take what came before.
 *
 * @param before - OMEMO messages as XML
 */
export async function openDevice(
  address: string,
  vector: VectorDevice,
  before: readonly string[],
): Promise<OpenDevice> {
  const world = new World();
  const { omemo, store } = world.party(address, { clock: new FakeClock() });
  const account = jid(address).bare.toString();
  const identity = keyPairOf(hex(vector.identity.private));
  store.run(
    `INSERT INTO omemo_device (account, id, identity_priv, identity_pub, next_prekey, next_signed, stale, created)
     VALUES (?, ?, ?, ?, 1000, 1000, 0, 0)`,
    account,
    vector.device,
    identity.priv,
    identity.pub,
  );
  for (const { id, private: priv } of vector.signedPreKeys) {
    const pair = keyPairOf(hex(priv));
    store.run(
      'INSERT INTO omemo_signed_prekey (account, id, priv, pub, signature, created) VALUES (?, ?, ?, ?, ?, 0)',
      ...[account, id, pair.priv, pair.pub, UNSIGNED],
    );
  }
  for (const { id, private: priv } of vector.preKeys) {
    const pair = keyPairOf(hex(priv));
    const sql = 'INSERT INTO omemo_prekey (account, id, priv, pub) VALUES (?, ?, ?, ?)';
    store.run(sql, account, id, pair.priv, pair.pub);
  }
  for (const { jid: of, device, identityKey } of vector.trusted)
    omemo.trust(jid(of), identityKey, device);
  const envelope = omemo.envelope();
  for (const text of before) {
    const message = parse(text);
    const element = message?.getChild('encrypted');
    if (!element) throw new Error('a message before is no OMEMO message');
    await envelope.open(element, jid(String(message?.attrs['from'])), 16);
  }
  return {
    envelope,
    close: () => {
      world.close();
    },
  };
}
