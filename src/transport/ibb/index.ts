/** In-band bytestreams as a Jingle transport (XEP-0261 1.0 over XEP-0047 2.0): the last resort. */
import type { TransportMethod } from '../../jingle/transport.ts';
import { IbbNegotiation, type BlockMemory } from './negotiation.ts';
import { JINGLE_IBB, MAX_BLOCK } from './stanza.ts';

/** What is offered when the server states no limit, and the least after broken streams. */
const DEFAULT_BLOCK = 16_384;
const LEAST_BLOCK = 4_096;
/** Bytes of a stanza around the base64 text. */
const ENVELOPE = 4_096;

/** The in-band transport. Its negotiations share what was learnt about the size of blocks. */
export function ibb(): TransportMethod {
  let limit = MAX_BLOCK;
  const memory: BlockMemory = {
    offer: (maxStanza) => Math.min(limit, blockFor(maxStanza)),
    shrink() {
      limit = Math.max(LEAST_BLOCK, Math.min(limit, DEFAULT_BLOCK) / 2);
    },
  };
  return {
    namespace: JINGLE_IBB,
    features: [JINGLE_IBB, 'http://jabber.org/protocol/ibb'],
    usable: ({ kinds }) => kinds.has('ibb'),
    negotiate: (context, sid) => new IbbNegotiation(context, sid, memory),
  };
}

/** The block whose base64 text fits a stanza of `maxStanza` bytes, in [1024, 32768]. */
function blockFor(maxStanza: number | undefined): number {
  if (maxStanza === undefined) return DEFAULT_BLOCK;
  const fitting = Math.floor(((maxStanza - ENVELOPE) * 3) / 4 / 1024) * 1024;
  return Math.max(1024, Math.min(MAX_BLOCK, fitting));
}
