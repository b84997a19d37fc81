/**
 * The sending half of an OMEMO 0.3 session (XEP-0384 0.3, libsignal's message format 3): X3DH as the
 * initiator, one sending chain. It shares nothing with `src/omemo`.
 */
import { createCipheriv } from 'node:crypto';
import { agree, drawn, hkdf, hmac, pairOf, type Pair } from '../vectors/primitives.ts';
import type { NumberedPair, TrustedDevice, VectorDevice, VectorPair } from './format.ts';

/** A pair that goes by a number in a bundle. */
interface Numbered {
  readonly id: number;
  readonly pair: Pair;
}

/** A device with all its keys. */
export interface Device {
  readonly jid: string;
  readonly id: number;
  readonly identity: Pair;
  readonly signedPreKeys: readonly Numbered[];
  readonly preKeys: readonly Numbered[];
}

/** A device whose keys come from its name. */
export function omemoDevice(who: string, jid: string, id: number): Device {
  const pair = (what: string) => pairOf(drawn(`${who}, ${what}`, 32));
  const numbered = (what: string) => (number: number) => ({
    id: number,
    pair: pair(`${what} ${String(number)}`),
  });
  return {
    jid,
    id,
    identity: pair('OMEMO identity'),
    signedPreKeys: [1, 2].map(numbered('signed prekey')),
    preKeys: [1, 2, 300].map(numbered('prekey')),
  };
}

const shownPair = (pair: Pair): VectorPair => ({
  private: pair.seed.toString('hex'),
  public: pair.public.toString('hex'),
});
const shownNumbered = ({ id, pair }: Numbered): NumberedPair => ({ id, ...shownPair(pair) });

/** How a vector shows the device that reads. */
export function shownDevice(device: Device, trusted: readonly Device[]): VectorDevice {
  return {
    device: device.id,
    identity: shownPair(device.identity),
    signedPreKeys: device.signedPreKeys.map(shownNumbered),
    preKeys: device.preKeys.map(shownNumbered),
    trusted: trusted.map(({ jid, id, identity }): TrustedDevice => ({
      jid: jid.replace(/\/.*/, ''),
      device: id,
      identityKey: identity.public.toString('hex'),
    })),
  };
}

const ZEROS = Buffer.alloc(32);
const VERSION = Buffer.of(0x33);
const typed = (key: Pair) => Buffer.concat([Buffer.of(5), key.public]);

function varint(value: number): Buffer {
  return value < 128
    ? Buffer.of(value)
    : Buffer.concat([Buffer.of((value % 128) + 128), varint(Math.floor(value / 128))]);
}

function protobuf(...fields: (readonly [number, number | Buffer])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) =>
      typeof value === 'number'
        ? [varint(number * 8), varint(value)]
        : [varint(number * 8 + 2), varint(value.length), value],
    ),
  );
}

/** What of a key exchange departs from the rules. */
export interface Departure {
  readonly preKeyId?: number | undefined;
  readonly signedPreKeyId?: number;
  /** Who says to be the sender. */
  readonly identity?: Pair;
}

/** One device's session with another, in which it has got no answer yet. */
export class Sending {
  readonly #own: Device;
  readonly #peer: Device;
  readonly #base: Pair;
  readonly #ratchet: Pair;
  readonly #preKey: Numbered;
  readonly #signedPreKey: Numbered;
  #chain: Buffer;
  #n = 0;

  /** @param seed - names the session: all its random values come from it */
  constructor(own: Device, peer: Device, seed: string, preKeyId = 1, signedPreKeyId = 2) {
    this.#own = own;
    this.#peer = peer;
    this.#base = pairOf(drawn(`${seed}, base key`, 32));
    this.#ratchet = pairOf(drawn(`${seed}, ratchet key`, 32));
    this.#preKey = one(peer.preKeys, preKeyId);
    this.#signedPreKey = one(peer.signedPreKeys, signedPreKeyId);
    const signed = this.#signedPreKey.pair;
    const agreements = [
      agree(own.identity, signed),
      agree(this.#base, peer.identity),
      agree(this.#base, signed),
      agree(this.#base, this.#preKey.pair),
    ];
    const material = Buffer.concat([Buffer.alloc(32, 0xff), ...agreements]);
    const secret = hkdf(material, ZEROS, Buffer.from('WhisperText'), 32);
    const root = Buffer.from('WhisperRatchet');
    this.#chain = hkdf(agree(this.#ratchet, signed), secret, root, 64).subarray(32);
  }

  /** The next message of the chain. */
  message(plaintext: Buffer): Buffer {
    const one = Buffer.of(1);
    const info = Buffer.from('WhisperMessageKeys');
    const keys = hkdf(hmac(this.#chain, one), ZEROS, info, 80);
    this.#chain = hmac(this.#chain, Buffer.of(2));
    const aes = createCipheriv('aes-256-cbc', keys.subarray(0, 32), keys.subarray(64));
    const ciphertext = Buffer.concat([aes.update(plaintext), aes.final()]);
    const fields = protobuf([1, typed(this.#ratchet)], [2, this.#n++], [3, 0], [4, ciphertext]);
    const body = Buffer.concat([VERSION, fields]);
    const parties = [typed(this.#own.identity), typed(this.#peer.identity)];
    const mac = hmac(keys.subarray(32, 64), Buffer.concat([...parties, body]));
    return Buffer.concat([body, mac.subarray(0, 8)]);
  }

  /** A message in the key exchange that it begins the session with. */
  exchange(message: Buffer, departure: Departure = {}): Buffer {
    const { identity = this.#own.identity, signedPreKeyId = this.#signedPreKey.id } = departure;
    const preKeyId = 'preKeyId' in departure ? departure.preKeyId : this.#preKey.id;
    const fields = protobuf(
      ...(preKeyId === undefined ? [] : [[1, preKeyId] as const]),
      [2, typed(this.#base)],
      [3, typed(identity)],
      [4, message],
      [5, this.#own.id],
      [6, signedPreKeyId],
    );
    return Buffer.concat([VERSION, fields]);
  }
}

function one(keys: readonly Numbered[], id: number): Numbered {
  const found = keys.find((key) => key.id === id);
  if (found === undefined) throw new Error(`there is no key ${String(id)}`);
  return found;
}
