/** XEP-0391 §6 (version 0.1.2): what disco#info says about JET. */
import type { CipherRegistry } from './cipher.ts';
import type { EnvelopeRegistry } from './envelope.ts';
import { NS_JET } from './security.ts';

/** Features for JET, each envelope type and each cipher that is registered. */
export function jetFeatures(ciphers: CipherRegistry, envelopes: EnvelopeRegistry): string[] {
  return [
    NS_JET,
    ...envelopes.all.map(({ feature }) => feature),
    ...ciphers.all.map(({ urn }) => urn),
  ];
}
