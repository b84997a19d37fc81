/** The only JSON form of the events, and the schema of it: both from one definition. */
import type { TransferEvent } from '../transfer/events.ts';

/** Version of the form; a change that breaks readers raises it. */
export const VERSION = 1;

interface Field {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly about: string;
  readonly optional?: true;
}

const text = (about: string): Field => ({ schema: { type: 'string' }, about });
const count = (about: string): Field => ({ schema: { type: 'integer', minimum: 0 }, about });
const choice = (values: readonly string[], about: string): Field => ({
  schema: { enum: values },
  about,
});
const optional = (field: Field): Field => ({ ...field, optional: true });

const direction = choice(['send', 'receive'], 'as seen from this side');
const exit: Field = {
  schema: { type: 'integer', minimum: 0, maximum: 10 },
  about: 'exit status, see exit-codes.md',
};
const hex = (about: string): Field => ({
  schema: { type: 'string', pattern: '^[0-9a-f]{64}$' },
  about,
});
const route: Field = {
  schema: {
    type: 'object',
    properties: { kind: { enum: ['direct', 'proxy', 'ibb'] }, via: { type: 'string' } },
    required: ['kind', 'via'],
    additionalProperties: false,
  },
  about: 'how the bytes travel: the kind, and the address or proxy',
};
const peer = text("the other side's address");
const size = count("the file's bytes");

/** Every event with its fields beyond `v`, `event`, `id` and `time`. */
export const EVENTS: Readonly<
  Record<TransferEvent['event'], { about: string; fields: Readonly<Record<string, Field>> }>
> = {
  waiting: {
    about: 'Something must happen first.',
    fields: { what: text('for what'), peer: optional(peer) },
  },
  notice: {
    about: 'Something to be known.',
    fields: { code: text('a stable word'), message: text('a sentence') },
  },
  offer: {
    about: 'A file was offered.',
    fields: {
      direction,
      peer,
      file: text('its name'),
      size,
      fingerprint: text("the peer device's fingerprint, hexadecimal"),
    },
  },
  start: {
    about: 'Bytes begin to flow.',
    fields: {
      direction,
      peer,
      file: text('its name'),
      size,
      route,
      resumed_from: count('the offset in bytes'),
    },
  },
  progress: { about: 'Bytes have been taken.', fields: { bytes: count('so far'), size } },
  finishing: {
    about: 'All bytes are through; at the receiver once more when the file is in its place.',
    fields: { what: text('what is waited for') },
  },
  end: {
    about: 'A transfer ended.',
    fields: {
      direction,
      status: choice(
        ['verified', 'partial', 'delivered', 'declined', 'failed', 'interrupted'],
        'how; `partial`: of a folder, or of many files that went as one, some have not landed and the others have',
      ),
      peer,
      file: text('the landed path, or the name of the source'),
      files: optional({
        schema: { type: 'array', items: { type: 'string' } },
        about: 'of many files that came as one: the landed path of each',
      }),
      missing: optional({
        schema: {
          type: 'object',
          properties: {
            count: { type: 'integer', minimum: 1 },
            paths: { type: 'array', items: { type: 'string' }, maxItems: 1000 },
          },
          required: ['count', 'paths'],
          additionalProperties: false,
        },
        about:
          'with `partial`, at the sender by the sealed word of the receiver: how many files and folders have not landed, and the first 1,000 of them, by their paths here at a sender, as they were offered at a receiver',
      }),
      bytes: count('how many went through'),
      part_of: optional({
        schema: {
          type: 'object',
          properties: {
            offset: { type: 'integer', minimum: 0 },
            size: { type: 'integer', minimum: 0 },
          },
          required: ['offset', 'size'],
          additionalProperties: false,
        },
        about: 'only a part was asked for: where it begins, and the size of the file',
      }),
      as: optional(
        choice(
          ['range', 'stdout'],
          'a jet has verified it and put it elsewhere than in a file of its name',
        ),
      ),
      sha256: optional(hex('hash of the file')),
      elapsed: { schema: { type: 'number', minimum: 0 }, about: 'milliseconds that bytes flowed' },
      exit,
    },
  },
  error: {
    about: 'Something failed.',
    fields: { code: text('a stable word'), message: text('a sentence'), exit },
  },
};

/** An event as one line of JSON, only its defined fields. */
export function toJson(event: TransferEvent): string {
  const values: Readonly<Record<string, unknown>> = { ...event };
  const fields = Object.keys(EVENTS[event.event].fields).map((key) => [key, values[key]] as const);
  return JSON.stringify({
    v: VERSION,
    event: event.event,
    id: event.id,
    time: event.time,
    ...Object.fromEntries(fields),
  });
}

/** The JSON schema (draft 7) of a line. */
export function eventSchema(): Record<string, unknown> {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'A line of jet --json',
    oneOf: Object.entries(EVENTS).map(([name, { about, fields }]) => ({
      description: about,
      type: 'object',
      properties: {
        v: { const: VERSION },
        event: { const: name },
        id: { type: 'string' },
        time: { type: 'integer', minimum: 0 },
        ...Object.fromEntries(
          Object.entries(fields).map(([k, f]) => [k, { ...f.schema, description: f.about }]),
        ),
      },
      required: [
        'v',
        'event',
        'id',
        'time',
        ...Object.entries(fields)
          .filter(([, f]) => !f.optional)
          .map(([k]) => k),
      ],
      additionalProperties: false,
    })),
  };
}

/** The events for people, in Markdown. */
export function eventPage(): string {
  const sections = Object.entries(EVENTS).map(([name, { about, fields }]) => {
    const rows = Object.entries(fields).map(
      ([k, f]) => `- \`${k}\`${f.optional ? ' (optional)' : ''}: ${f.about}`,
    );
    return `## \`${name}\`\n\n${about}\n\n${rows.join('\n')}\n`;
  });
  return `# Events of \`--json\`\n\nOne object a line on stdout. Every one has \`v\` (${VERSION}), \`event\`, \`id\` (of the transfer; \`jet\` for\nwhat belongs to none) and \`time\` (milliseconds since the epoch). The schema is in\n[events.schema.json](events.schema.json). This page and the schema are generated by\n\`scripts/event-schema.ts\`.\n\n${sections.join('\n')}`;
}
