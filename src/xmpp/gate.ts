/** Leave to have a session: servers allow few of them an account, and processes share those. */
import { JetError } from '../core/errors.ts';
import { establish, type Established, type Login } from './establish.ts';

/** Who gives leave. One belongs to one connection. */
export interface Gate {
  /** Waits for leave, where it is not given already. @throws JetError when there is none in time; the signal's reason */
  enter(signal?: AbortSignal): Promise<void>;
  /** There is a session now. */
  accepted(): void;
  /** The server refused one more session, or ended ours for another: the leave is void. */
  refused(condition: string): void;
  /** The session is over. */
  leave(): void;
}

/**
 * Establishes a session; as often as the server refuses one more, leave is asked for anew.
 *
 * @throws what {@link establish} and {@link Gate.enter} throw
 */
export async function establishThrough(
  gate: Gate | undefined,
  login: Login,
  previous?: Parameters<typeof establish>[1],
): Promise<Established> {
  for (;;) {
    await gate?.enter(login.signal);
    try {
      const established = await establish(login, previous);
      gate?.accepted();
      return established;
    } catch (error) {
      if (gate === undefined || !(error instanceof JetError) || error.code !== 'session-limit')
        throw error;
      gate.refused(error.message);
    }
  }
}
