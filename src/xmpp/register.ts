/** In-band registration (XEP-0077 v2.4) of a name and a password, before logging in, inside verified TLS. */
import type { Element } from '@xmpp/xml';
import { randomId } from '../core/bytes.ts';
import { JetError } from '../core/errors.ts';
import { registrationRefused, serverUnreachable, unusablePassword } from './errors.ts';
import { enter } from './enter.ts';
import type { Login } from './establish.ts';
import { preparePassword } from './sasl/prepare.ts';
import { readError } from './stanza.ts';
import type { Stream } from './stream.ts';
import { attr, xml } from './xml.ts';

const NS_REGISTER = 'jabber:iq:register';

/** How an account is made: as for logging in. */
export type Registration = Omit<Login, 'account' | 'domain'>;

/**
 * Makes the account of `jid` with this password.
 *
 * @throws JetError `registration-refused`, with what the server says to do, `unusable-password`, and those of
 * `enter`
 */
export async function register(options: Registration): Promise<void> {
  const { jid, signal } = options;
  const { stream } = await enter({ ...options, domain: jid.domain });
  const abort = () => stream.destroy(new Error('aborted'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const form = await ask(stream, 'get', xml('query', { xmlns: NS_REGISTER }), jid.domain);
    checkForm(form, jid.domain);
    const password = await options.password();
    // It would be an account that nobody can log in to.
    if ((await preparePassword(password)) === undefined) throw unusablePassword(jid.toString());
    const query = xml(
      'query',
      { xmlns: NS_REGISTER },
      xml('username', {}, jid.local),
      xml('password', {}, password),
    );
    await ask(stream, 'set', query, jid.domain);
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof JetError ? error : serverUnreachable(jid.domain, error);
  } finally {
    signal?.removeEventListener('abort', abort);
    await stream.close();
  }
}

async function ask(
  stream: Stream,
  type: 'get' | 'set',
  query: Element,
  domain: string,
): Promise<Element | undefined> {
  const id = randomId();
  await stream.send(xml('iq', { type, id, to: domain }, query));
  const reply = await stream.nextMatching(
    (element) => element.getName() === 'iq' && attr(element, 'id') === id,
  );
  if (attr(reply, 'type') === 'result') return reply.getChild('query', NS_REGISTER);
  const { condition, text } = readError(reply);
  throw registrationRefused(domain, reason(condition, text));
}

function reason(condition: string, text: string | undefined): string {
  if (condition === 'conflict')
    return 'the name is taken. Choose another one, or log in if it is yours.';
  if (condition === 'not-acceptable')
    return `the name or the password is not accepted. ${text ?? ''}`;
  if (condition === 'resource-constraint' || condition === 'policy-violation')
    return 'too many accounts were made of late. Try again later.';
  return `the server lets nobody register from here (${text ?? condition}). Make the account on its web site, then run "jet login".`;
}

/** Only a form of nothing but name and password can be filled in without a person. */
function checkForm(form: Element | undefined, domain: string): void {
  const fields = form?.getChildElements().filter((e) => e.getNS() === NS_REGISTER) ?? [];
  const names = fields.map((element) => element.getName());
  if (names.includes('registered'))
    throw registrationRefused(domain, 'the account is there already.');
  const simple = names.every((name) => ['instructions', 'username', 'password'].includes(name));
  if (simple && names.includes('username') && names.includes('password')) return;
  const page = form?.getChild('x', 'jabber:x:oob')?.getChild('url')?.text();
  const instructions = form?.getChild('instructions', NS_REGISTER)?.text();
  throw registrationRefused(
    domain,
    `the server wants more than a name and a password. Make the account ${page === undefined ? 'on its web site' : `at ${page.slice(0, 300)}`}, then run "jet login".` +
      (instructions === undefined ? '' : ` It says: ${instructions.slice(0, 500)}`),
  );
}
