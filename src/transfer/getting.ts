/** The side that gets the bytes, whoever has begun: it was offered a file, or has asked for one. */
import type { Checkpoint } from '../files/landing.ts';
import type { DecryptingSide } from './decrypting.ts';
import type { Extent, LandedAs } from './sealed.ts';
import type { Side } from './transfer.ts';

/** What it says of the file is said of its stream, from when both sides have agreed on one. */
export abstract class Getting {
  protected decrypting: DecryptingSide | undefined;

  get landed(): string | undefined {
    return this.decrypting?.landed;
  }

  get sha256(): Buffer | undefined {
    return this.decrypting?.sha256;
  }

  get as(): LandedAs | undefined {
    return this.decrypting?.as;
  }

  get kept(): Checkpoint | undefined {
    return this.decrypting?.kept;
  }

  get proven(): Extent | undefined {
    return this.decrypting?.proven;
  }

  get moved(): number {
    return this.decrypting?.moved ?? 0;
  }

  get patience(): number {
    return this.decrypting?.patience ?? 0;
  }

  stream: Side['stream'] = (bytestream, signal) => this.#agreed.receive(bytestream, signal);

  info: Side['info'] = (payload) => this.#agreed.info(payload);

  land: NonNullable<Side['land']> = () => this.#agreed.land();

  receipt: NonNullable<Side['receipt']> = () => this.#agreed.receipt();

  get #agreed(): DecryptingSide {
    if (this.decrypting === undefined) throw new Error('nothing was agreed on');
    return this.decrypting;
  }
}
