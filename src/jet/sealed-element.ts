/** Sealed elements as XML (docs/sealed.md §4): `<sealed label='…'>BASE64</sealed>`. */
import type { Element } from '@xmpp/xml';
import { xml } from '@xmpp/xml';
import { fromBase64, toBase64 } from '../core/bytes.ts';
import { NS_SEALED, SealedError, type Label } from './sealed.ts';

/** Writes one. */
export function writeSealed(label: Label, bytes: Buffer): Element {
  return xml('sealed', { xmlns: NS_SEALED, label }, toBase64(bytes));
}

/**
 * The one sealed element among some elements.
 *
 * @returns undefined when there is none at all
 * @throws SealedError `repeated` for two, `out-of-place` for another label, `malformed`
 */
export function readSealed(elements: readonly Element[], ...labels: Label[]): Sealed | undefined {
  const [element, second] = elements.filter((one) => one.is('sealed', NS_SEALED));
  if (element === undefined) return undefined;
  if (second !== undefined) throw new SealedError('repeated', 'two sealed elements in one place');
  const label = labels.find((known) => known === element.attrs['label']);
  if (label === undefined)
    throw new SealedError('out-of-place', 'a sealed element of another kind');
  const bytes = fromBase64(element.getText());
  if (bytes === undefined) throw new SealedError('malformed', 'a sealed element that is no base64');
  return { label, bytes };
}

/** A sealed element that was read. */
export interface Sealed {
  readonly label: Label;
  readonly bytes: Buffer;
}
