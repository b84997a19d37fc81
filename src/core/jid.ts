/** XMPP addresses (RFC 7622): prepared once where they enter, compared as strings after that. */
import { domainToASCII } from 'node:url';

/** An address `local@domain/resource`, prepared for comparison. */
export class Jid {
  readonly local: string;
  readonly domain: string;
  readonly resource: string;

  private constructor(local: string, domain: string, resource: string) {
    this.local = local;
    this.domain = domain;
    this.resource = resource;
  }

  /** Reads and prepares an address; undefined when it is none (RFC 7622 §3). */
  static parse(text: string): Jid | undefined {
    const slash = text.indexOf('/');
    const bare = slash < 0 ? text : text.slice(0, slash);
    const resource = slash < 0 ? '' : text.slice(slash + 1).normalize('NFC');
    if (slash >= 0 && !validPart(resource, /[\p{Cc}\p{Cs}]/u)) return undefined;
    const at = bare.indexOf('@');
    const local = at < 0 ? '' : bare.slice(0, at).normalize('NFKC').toLowerCase().normalize('NFC');
    if (at >= 0 && !validPart(local, /[\p{Cc}\p{Cs}\p{Z}"&'/:<>@]/u)) return undefined;
    const domain = prepareDomain(bare.slice(at + 1));
    return domain === undefined ? undefined : new Jid(local, domain, resource);
  }

  /** The same account or server without a resource. */
  get bare(): Jid {
    return this.resource === '' ? this : new Jid(this.local, this.domain, '');
  }

  /** True when there is a resource. */
  get isFull(): boolean {
    return this.resource !== '';
  }

  /** The address of a resource of this account. */
  withResource(resource: string): Jid {
    return new Jid(this.local, this.domain, resource);
  }

  /** True for the same prepared address, resource included. */
  equals(other: Jid): boolean {
    return this.toString() === other.toString();
  }

  /** True for the same account, whatever the resources. */
  sameBare(other: Jid): boolean {
    return this.local === other.local && this.domain === other.domain;
  }

  toString(): string {
    const bare = this.local === '' ? this.domain : `${this.local}@${this.domain}`;
    return this.resource === '' ? bare : `${bare}/${this.resource}`;
  }
}

function validPart(part: string, forbidden: RegExp): boolean {
  return part !== '' && Buffer.byteLength(part) <= 1023 && !forbidden.test(part);
}

/** Lower case, NFC, no trailing dot; undefined when it can be neither a name nor an IP address. */
function prepareDomain(text: string): string | undefined {
  const domain = text.normalize('NFC').toLowerCase().replace(/\.$/, '');
  if (!validPart(domain, /[\p{Cc}\p{Cs}\p{Z}"&'/<>@\\%?#]/u)) return undefined;
  if (/^\[[0-9a-f:.]+\]$/.test(domain)) return domain;
  if (domain.includes(':') || domainToASCII(domain) === '') return undefined;
  return domain;
}
