/** Which SASL mechanism is used (RFC 6120 §6, RFC 5802 §6, XEP-0440 v0.4). */
import type { Element } from '@xmpp/xml';
import type { Binding, ScramHash } from './scram.ts';

export const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';

/** The mechanism and how it binds to the channel. */
export type Choice =
  | {
      readonly kind: 'scram';
      readonly mechanism: string;
      readonly hash: ScramHash;
      readonly binding: Binding;
    }
  | { readonly kind: 'plain'; readonly mechanism: 'PLAIN' };

const STRONGEST_FIRST: readonly (readonly [string, ScramHash])[] = [
  ['SCRAM-SHA-256', 'sha256'],
  ['SCRAM-SHA-1', 'sha1'],
];

/**
 * Chooses the strongest mechanism, a bound one before any other; PLAIN only when there is nothing else.
 *
 * @param available - the channel bindings of this connection, best first
 */
export function choose(
  features: Element,
  available: readonly { readonly type: string; readonly data: Buffer }[],
): Choice | undefined {
  const offered = new Set(
    features
      .getChild('mechanisms', NS_SASL)
      ?.getChildren('mechanism', NS_SASL)
      .map((mechanism) => mechanism.text().trim()),
  );
  const types = features
    .getChild('sasl-channel-binding', 'urn:xmpp:sasl-cb:0')
    ?.getChildren('channel-binding')
    .map((element) => element.attrs['type']);
  // Servers that do not say which types they know, but bind, know that of RFC 9266 for TLS 1.3.
  const common = available.find(({ type }) =>
    types === undefined ? type === 'tls-exporter' : types.includes(type),
  );
  const plus = [...offered].some((name) => name.endsWith('-PLUS'));
  if (common !== undefined)
    for (const [name, hash] of STRONGEST_FIRST)
      if (offered.has(`${name}-PLUS`))
        return {
          kind: 'scram',
          mechanism: `${name}-PLUS`,
          hash,
          binding: { flag: 'p', ...common },
        };
  const binding: Binding = { flag: plus || available.length === 0 ? 'n' : 'y' };
  for (const [name, hash] of STRONGEST_FIRST)
    if (offered.has(name)) return { kind: 'scram', mechanism: name, hash, binding };
  return offered.has('PLAIN') ? { kind: 'plain', mechanism: 'PLAIN' } : undefined;
}
