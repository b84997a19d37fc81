/** The side of a transfer that was offered a file: where it goes, what of it is there already, and what the peer is told. */
import { FoldersThere } from '../files/folders-there.ts';
import type { ConflictPolicy } from '../files/landing.ts';
import { safeName } from '../files/names.ts';
import { wipeSecret } from '../jet/secret.ts';
import { encodeDescription } from '../jingle/file-description.ts';
import type { Content } from '../jingle/stanza.ts';
import { DecryptingSide, type Target } from './decrypting.ts';
import { Getting } from './getting.ts';
import type { Say } from './file-target.ts';
import { knownHashes, type Taken } from './going-on.ts';
import type { Incoming, OpenedOffer } from './incoming.ts';
import { landedEarlier, takesPart } from './journal/earlier.ts';
import type { Records } from './journal/recorder.ts';
import type { SessionEnd } from './machine.ts';
import { Proof } from './proof.ts';
import type { Reporter } from './reporter.ts';
import { checkBuildable } from './rounds.ts';
import { clearDescription, type OfferedFile } from './sealed.ts';
import { StreamTarget } from './stream-target.ts';
import {
  earlierTarget,
  fileTarget,
  keptTarget,
  landedTarget,
  type Opening,
  opening,
  treeTarget,
} from './targets.ts';
import type { Side } from './transfer.ts';
import type { Element } from '@xmpp/xml';
import { dirname, join } from 'node:path';

/** How files land. */
export interface LandingChoices {
  readonly onConflict: ConflictPolicy;
  /** Where a file goes that is no file of `out`; undefined for one that is. */
  readonly elsewhere?: (file: OfferedFile) => Promise<Target> | undefined;
  /** Something that the user is to know of a transfer that goes on. */
  readonly say: Say;
  /** Something of a folder that is not made, and why. */
  readonly skipped: (path: string, why: string) => void;
}

/** Of a part of a file the offer promises nothing. */
const NOTHING = { hashes: [], hashUsed: [] };

/** By what the next session of a file is known that is handed on. */
export function flowName({ identityKey }: OpenedOffer['sender'], id: string): string {
  return `${identityKey.toString('hex')} ${id}`;
}

/** The side that was offered a file. */
export class Receiving extends Getting implements Side {
  readonly #content: Incoming['content'];
  readonly #opened: OpenedOffer;
  readonly #taken: Taken;
  readonly #options: LandingChoices;
  readonly #reporter: Reporter;
  readonly #records: Records;
  readonly #flows: Map<string, number>;
  #opening: Opening | undefined;

  constructor(
    { content }: Incoming,
    opened: OpenedOffer,
    taken: Taken,
    options: LandingChoices,
    reporter: Reporter,
    records: Records,
    flows: Map<string, number>,
  ) {
    super();
    this.#records = records;
    this.#flows = flows;
    this.#content = content;
    this.#opened = opened;
    this.#taken = taken;
    this.#options = options;
    this.#reporter = reporter;
  }

  /** What takes the bytes, of what is handed on as they come. */
  get flow(): StreamTarget | undefined {
    const target = this.#opening?.target;
    return target instanceof StreamTarget ? target : undefined;
  }

  /** It is not the file that is wanted, but what tells what is wrong in its part. */
  get asksForHashes(): boolean {
    return this.#opening?.hashes !== undefined;
  }

  /** Makes the part; false when the file is there and is to be skipped. @throws JetError (exit 8) */
  async open(): Promise<boolean> {
    const { cipher, secret, file, sealed } = this.#opened;
    const next = await this.#open();
    if (next === undefined) return false;
    this.#opening = next;
    const { target, size, extent, fresh, hashes } = next;
    const aside = hashes !== undefined;
    const whole = fresh && extent.length === size;
    const known = { hashes: knownHashes(this.#taken.recorder), hashUsed: [] };
    this.decrypting = new DecryptingSide(
      {
        ...{ content: this.#content, cipher, secret, size, target, extent },
        // What is promised of a file is not of the part that is missing of it.
        proof: whole && !aside ? new Proof(file, size) : new Proof(NOTHING, extent.length),
        ...(!whole && !aside && { whole: new Proof(known, size) }),
        ...{ partial: false, aside },
        ...(sealed && { sealed }),
      },
      this.#reporter,
    );
    return true;
  }

  accepted(transport: Element): Content {
    const { creator, name, senders } = this.#content;
    const { sealed, file, sender } = this.#opened;
    const base = { creator, name, senders, transport };
    if (sealed !== undefined && this.#opening !== undefined) {
      const extensions = [sealed.accept(this.#opening)];
      const { recorder } = this.#taken;
      if (this.decrypting?.keeps === true)
        recorder?.agreed(() => sealed.transferId(), sender.identityKey, sender.device);
      else if (this.flow !== undefined && recorder !== undefined)
        this.#flows.set(flowName(sender, file.resume?.id ?? sealed.transferId()), recorder.key);
      return { ...base, description: clearDescription(), extensions };
    }
    const { size, hashes, hashUsed } = file;
    return { ...base, description: encodeDescription({ name: file.name, size, hashes, hashUsed }) };
  }

  async finish(outcome: SessionEnd): Promise<void> {
    wipeSecret(this.#opened.secret);
    this.#opened.sealed?.wipe();
    await this.decrypting?.finish(outcome);
  }

  async #open(): Promise<Opening | undefined> {
    const { recorder, out, landed, flow } = this.#taken;
    const { say, skipped, onConflict } = this.#options;
    const { file, cipher } = this.#opened;
    const { size } = file;
    const { maxBytes: most } = cipher;
    if (out !== undefined) {
      const earlier = await this.#earlier(out, most);
      if (earlier !== undefined) return earlier;
      const target = await this.#new(out);
      return target && this.#first(target);
    }
    if (landed !== undefined && file.tree !== undefined) {
      // Nothing that lies there tells what the stream was; but what has landed does not land twice.
      const { name, tree: head } = file;
      const plan = { out: dirname(landed), name, size, head, onConflict, skipped, again: true };
      // Its folders have got theirs, and may have been given others since.
      return this.#first(await treeTarget({ ...plan, there: FoldersThere.all }, recorder));
    }
    if (flow !== undefined) return flow.rest(most);
    if (landed !== undefined) {
      const extent = { offset: size, length: 0 };
      return { target: landedTarget(landed), size, extent, fresh: false };
    }
    if (recorder === undefined) throw new Error('neither a row nor a file');
    return keptTarget({ recorder, size, most, say, skipped });
  }

  /** What comes first of something new. @throws JetError (exit 8) */
  async #first(target: Target): Promise<Opening> {
    const { file, cipher } = this.#opened;
    const first = opening(target, file.size, cipher.maxBytes);
    try {
      checkBuildable(target, first.extent, file.size, cipher);
    } catch (error) {
      await target.abort(false);
      throw error;
    }
    return first;
  }

  /** What of a file has landed here, or come, when it was sent before; of that only a jet can prove anything. */
  async #earlier(out: string, most: number): Promise<Opening | undefined> {
    const { recorder } = this.#taken;
    const { elsewhere, say, skipped } = this.#options;
    const records = this.#records;
    const { file, sealed } = this.#opened;
    const { size } = file;
    if (sealed === undefined || elsewhere !== undefined || recorder === undefined) return undefined;
    // What has landed of a folder is many files: nothing there tells what the stream was.
    const alone = file.tree === undefined;
    const path = alone ? await landedEarlier(records, recorder, out, file) : undefined;
    if (path !== undefined) {
      const target = earlierTarget(path, join(out, safeName(file.name)), recorder);
      return { target, size, extent: { offset: size, length: 0 }, fresh: false };
    }
    if (!takesPart(records, recorder, out)) return undefined;
    return keptTarget({ recorder, size, most, say, skipped });
  }

  /** Where something goes that is offered for the first time. */
  async #new(out: string): Promise<Target | undefined> {
    const { onConflict, elsewhere, skipped } = this.#options;
    const { file } = this.#opened;
    const { name, size, tree: head } = file;
    const other = await elsewhere?.(file);
    if (other !== undefined) return other;
    const { recorder } = this.#taken;
    if (head !== undefined) {
      const plan = { out, name, size, head, onConflict, skipped, again: false };
      return treeTarget(plan, recorder, this.#options);
    }
    const plan = { target: join(out, safeName(name)), size, onConflict };
    return fileTarget(plan, 'file', recorder, this.#options);
  }
}
