/** Errors that a user sees, each with its documented exit status (docs/exit-codes.md). */

/** Exit status of the program. */
export const Exit = {
  done: 0,
  internal: 1,
  usage: 2,
  account: 3,
  absent: 4,
  declined: 5,
  security: 6,
  transport: 7,
  localFile: 8,
  remoteFile: 9,
  partial: 10,
} as const;

/** One of the documented exit statuses. */
export type ExitStatus = (typeof Exit)[keyof typeof Exit];

/**
 * An error with a sentence for the user: what happened, to which file or peer, what to do next.
 *
 * @remarks `code` is a stable kebab-case word for `--json`. The message holds no secret. It may hold
 * names that came from the network: they are escaped where they are printed.
 */
export class JetError extends Error {
  readonly code: string;
  readonly exit: ExitStatus;

  constructor(exit: ExitStatus, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'JetError';
    this.code = code;
    this.exit = exit;
  }
}

/** The `code` of a system error (`ENOENT` …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string')
    return error.code;
  return undefined;
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Anything thrown as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Most names in a sentence. */
const MOST_NAMES = 20;

/**
 * Names for a sentence: the first ones, and how many more there are.
 *
 * @param count - how many there are, where not all of them are known by name
 */
export function listed(names: readonly string[], count = names.length): string {
  const shown = names.slice(0, MOST_NAMES);
  const more = count > shown.length ? ` and ${count - shown.length} more` : '';
  return `${shown.join(', ')}${more}`;
}

/** A text with its full stop, whether or not it has one. */
export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
