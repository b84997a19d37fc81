/** The exchange of SASL over a stream (RFC 6120 §6), with verified TLS under it and nothing less. */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/xml';
import type { Jid } from '../../core/jid.ts';
import { fromBase64, toBase64 } from '../../core/bytes.ts';
import {
  loginRefused,
  noMechanism,
  noTls,
  serverNotProven,
  sessionLimit,
  unusablePassword,
  wrongPassword,
} from '../errors.ts';
import type { Stream } from '../stream.ts';
import { xml } from '../xml.ts';
import { bindings } from './binding.ts';
import { NS_SASL, choose } from './choose.ts';
import { preparePassword } from './prepare.ts';
import { ScramError, clientFinal, clientFirst, verifyServer } from './scram.ts';

/**
 * Logs in.
 *
 * @throws JetError `no-tls`, `no-mechanism`, `wrong-password`, `unusable-password`, `login-refused`,
 * `server-not-proven`, `session-limit`
 */
export async function authenticate(
  stream: Stream,
  features: Element,
  jid: Jid,
  password: () => Promise<string> | string,
): Promise<void> {
  const { tls } = stream.socket;
  const account = jid.bare.toString();
  if (tls === undefined) throw noTls(jid.domain, stream.target.host);
  const choice = choose(features, bindings(tls));
  if (choice === undefined) throw noMechanism(account);
  const secret = await preparePassword(await password());
  if (secret === undefined) throw unusablePassword(account);
  const { mechanism } = choice;
  if (choice.kind === 'plain') {
    await auth(stream, mechanism, `\0${jid.local}\0${secret}`);
    expectSuccess(await stream.next(), account);
    return;
  }
  try {
    const nonce = toBase64(randomBytes(24));
    const first = clientFirst(choice.hash, jid.local, nonce, choice.binding);
    await auth(stream, mechanism, first.message);
    const final = await clientFinal(first, expectChallenge(await stream.next(), account), secret);
    await respond(stream, final.message);
    let reply = await stream.next();
    // The signature may come as one more challenge, to be answered by nothing (RFC 6120 §6.3.10).
    const asked = reply.is('challenge', NS_SASL);
    if (asked) {
      verifyServer(final, decode(reply));
      await respond(stream, '');
      reply = await stream.next();
    }
    expectSuccess(reply, account);
    if (!asked) verifyServer(final, decode(reply));
  } catch (error) {
    throw error instanceof ScramError ? serverNotProven(account) : error;
  }
}

function auth(stream: Stream, mechanism: string, message: string): Promise<void> {
  return stream.send(xml('auth', { xmlns: NS_SASL, mechanism }, toBase64(Buffer.from(message))));
}

function respond(stream: Stream, message: string): Promise<void> {
  return stream.send(xml('response', { xmlns: NS_SASL }, toBase64(Buffer.from(message))));
}

function decode(element: Element): string {
  return fromBase64(element.text())?.toString() ?? '';
}

function expectChallenge(reply: Element, account: string): string {
  if (reply.is('challenge', NS_SASL)) return decode(reply);
  if (reply.is('success', NS_SASL)) throw new ScramError('the server skipped its proof');
  return refuse(reply, account);
}

function expectSuccess(reply: Element, account: string): void {
  if (!reply.is('success', NS_SASL)) refuse(reply, account);
}

function refuse(reply: Element, account: string): never {
  if (!reply.is('failure', NS_SASL)) throw loginRefused(account, 'its answer makes no sense');
  const condition = reply
    .getChildElements()
    .map((element) => element.getName())
    .find((name) => name !== 'text');
  if (condition === 'not-authorized' || condition === 'invalid-authzid')
    throw wrongPassword(account);
  if (condition === 'policy-violation' || condition === 'resource-constraint')
    throw sessionLimit(account, condition);
  if (condition === 'temporary-auth-failure')
    throw new Error('the server cannot check passwords now');
  throw loginRefused(account, (condition ?? 'no reason given').slice(0, 64));
}
