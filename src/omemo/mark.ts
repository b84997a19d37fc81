/** The mark of a device's state as XML, in a private node of ours: which one it is, and of what day. */
import { type Element, xml } from '../xmpp/xml.ts';
import { NS_STATE } from './names.ts';

/** A mark as it is published; `now` in ms since 1970. */
export function writeMark(mark: string, now: number): Element {
  const day = new Date(now).toISOString().slice(0, 10);
  return xml('mark', { xmlns: NS_STATE, day }, mark);
}

/** The mark; undefined when there is none. */
export function readMark(payload: Element | undefined): string | undefined {
  return payload?.is('mark', NS_STATE) ? payload.getText() : undefined;
}

/** The day of the device's last step in ms since 1970; undefined for a device that is no jet. */
export function dayOfMark(payload: Element | undefined): number | undefined {
  const day = payload?.is('mark', NS_STATE) ? Date.parse(payload.attrs['day'] ?? '') : NaN;
  return Number.isNaN(day) ? undefined : day;
}
