/** SCRAM (RFC 5802, RFC 7677): the client's side as pure steps, the server's signature verified. */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { fromBase64, toBase64 } from '../../core/bytes.ts';

/** The hash of a SCRAM mechanism. */
export type ScramHash = 'sha1' | 'sha256';

/** The data of a channel binding (RFC 5056), or why there is none. */
export type Binding =
  | { readonly flag: 'p'; readonly type: string; readonly data: Buffer }
  /** We could bind, but the server offers it not: it will notice if that is a lie. */
  | { readonly flag: 'y' }
  /** We cannot bind as this server offers it. */
  | { readonly flag: 'n' };

/** The server broke the protocol, or could not prove that it knows the password. */
export class ScramError extends Error {
  override readonly name = 'ScramError';
}

const FEWEST_ITERATIONS = 4096;
// About ten seconds of work: more would let a hostile server keep us busy for ever.
const MOST_ITERATIONS = 10_000_000;
const derive = promisify(pbkdf2);

/** The message `client-first` and what the later steps need of it. */
export interface ClientFirst {
  readonly hash: ScramHash;
  readonly nonce: string;
  readonly bare: string;
  readonly channel: string;
  readonly message: string;
}

/** The message `client-final` and the signature that the server has to show. */
export interface ClientFinal {
  readonly message: string;
  readonly serverSignature: Buffer;
}

/** Begins; `username` is prepared (RFC 7622 local part), `nonce` printable ASCII without comma. */
export function clientFirst(
  hash: ScramHash,
  username: string,
  nonce: string,
  binding: Binding,
): ClientFirst {
  const gs2 = binding.flag === 'p' ? `p=${binding.type},,` : `${binding.flag},,`;
  const bare = `n=${username.replace(/=/g, '=3D').replace(/,/g, '=2C')},r=${nonce}`;
  const data = binding.flag === 'p' ? binding.data : Buffer.alloc(0);
  return {
    hash,
    nonce,
    bare,
    channel: toBase64(Buffer.concat([Buffer.from(gs2), data])),
    message: gs2 + bare,
  };
}

/**
 * Answers `server-first`.
 *
 * @param password - prepared by SASLprep
 * @throws ScramError when it is malformed, has another nonce, or an iteration count outside
 * 4,096 (RFC 7677 §4) to 10,000,000
 */
export async function clientFinal(
  first: ClientFirst,
  serverFirst: string,
  password: string,
): Promise<ClientFinal> {
  const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8})(?:,.*)?$/.exec(
    serverFirst,
  );
  const [, nonce = '', saltText = '', count = ''] = match ?? [];
  const salt = fromBase64(saltText);
  const iterations = Number(count);
  if (match === null || salt === undefined || salt.length === 0)
    throw new ScramError('the challenge of the server is malformed');
  if (!nonce.startsWith(first.nonce) || nonce.length === first.nonce.length)
    throw new ScramError('the challenge of the server has a wrong nonce');
  if (iterations < FEWEST_ITERATIONS || iterations > MOST_ITERATIONS)
    throw new ScramError('the challenge of the server has an unsafe iteration count');
  const { hash } = first;
  const length = hash === 'sha1' ? 20 : 32;
  const salted = await derive(password, salt, iterations, length, hash);
  const clientKey = hmac(hash, salted, 'Client Key');
  const storedKey = createHash(hash).update(clientKey).digest();
  const withoutProof = `c=${first.channel},r=${nonce}`;
  const authMessage = `${first.bare},${serverFirst},${withoutProof}`;
  const signature = hmac(hash, storedKey, authMessage);
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
  return {
    message: `${withoutProof},p=${toBase64(proof)}`,
    serverSignature: hmac(hash, hmac(hash, salted, 'Server Key'), authMessage),
  };
}

/** Checks `server-final`; throws ScramError unless it has the right signature. */
export function verifyServer(final: ClientFinal, serverFinal: string): void {
  const shown = fromBase64(/^v=([A-Za-z0-9+/=]+)(?:,|$)/.exec(serverFinal)?.[1] ?? '');
  if (shown?.length !== final.serverSignature.length)
    throw new ScramError('the server shows no signature');
  if (!timingSafeEqual(shown, final.serverSignature))
    throw new ScramError('the signature of the server is wrong');
}

function hmac(hash: ScramHash, key: Buffer, text: string): Buffer {
  return createHmac(hash, key).update(text).digest();
}
