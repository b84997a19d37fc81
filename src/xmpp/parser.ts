/** Reading of an XML stream (RFC 6120 §11), with bounds on what a hostile server can make of it. */
import { Parser } from '@xmpp/xml';

/** The largest stanza taken, in characters. */
export const LARGEST_STANZA = 1_048_576;
/** The deepest nesting taken, the stream's own element counted. */
export const DEEPEST = 64;

/** Why a stream was not read on. */
export class StreamSyntaxError extends Error {
  /** The stream error condition (RFC 6120 §4.9.3). */
  readonly condition: 'not-well-formed' | 'restricted-xml' | 'policy-violation';

  constructor(condition: StreamSyntaxError['condition'], message: string) {
    super(message);
    this.name = 'StreamSyntaxError';
    this.condition = condition;
  }
}

/**
 * The parser of \@xmpp/xml, which has no bounds, throws into the socket's event and takes quadratic
 * time over a long text that comes in pieces: here text is held back until a tag ends, sizes and depth
 * are bounded, document types are refused (RFC 6120 §11.1), and every failure is one `error` event.
 */
export class StreamParser extends Parser {
  #held: string[] = [];
  #size = 0;
  #depth = 0;
  #broken = false;

  override onStartElement(name: string, attrs: Record<string, string>): void {
    this.#depth += 1;
    if (this.#depth > DEEPEST)
      throw new StreamSyntaxError('policy-violation', 'elements nested too deeply');
    super.onStartElement(name, attrs);
  }

  override onEndElement(name: string): void {
    if (this.#depth === 0 || this.cursor === null || this.cursor.name !== name)
      throw new StreamSyntaxError('not-well-formed', 'mismatched end tag');
    this.#depth -= 1;
    super.onEndElement(name);
    if (this.#depth <= 1) this.#size = 0;
  }

  override onText(text: string): void {
    // Between stanzas only white space is allowed; it is a keepalive and means nothing.
    if (this.#depth > 1) super.onText(text);
    else if (text.trim() !== '') throw new StreamSyntaxError('not-well-formed', 'stray text');
  }

  override write(data: string): void {
    if (this.#broken) return;
    if (this.#held.length === 0 && this.#depth <= 1 && data.trim() === '') return;
    this.#size += data.length;
    const end = data.lastIndexOf('>') + 1;
    try {
      if (end > 0) {
        const text = this.#held.join('') + data.slice(0, end);
        this.#held = end < data.length ? [data.slice(end)] : [];
        if (/<!(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)/i.test(text))
          throw new StreamSyntaxError('restricted-xml', 'a document type is not allowed');
        super.write(text);
        if (this.#depth <= 1) this.#size = data.length - end;
      } else {
        this.#held.push(data);
      }
      if (this.#size > LARGEST_STANZA)
        throw new StreamSyntaxError('policy-violation', 'a stanza is too large');
    } catch (error) {
      this.#broken = true;
      this.#held = [];
      this.emit(
        'error',
        error instanceof StreamSyntaxError
          ? error
          : new StreamSyntaxError('not-well-formed', 'the stream is not well-formed XML'),
      );
    }
  }
}
