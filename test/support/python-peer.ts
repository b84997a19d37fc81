/** The independent implementation (python3-oldmemo, python3-twomemo) as a process that is asked line by line. */
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

const PYTHON = '/usr/bin/python3';

/** Whether the packages are there. */
export const hasPython = spawnSync(PYTHON, ['-c', 'import oldmemo, twomemo']).status === 0;

/** What it answers; which of it depends on the question. */
export interface Answer {
  error?: string;
  data: string;
  message: string;
  isKeyExchange: boolean;
  identityKey: string;
  signedPreKeyId: number;
  signedPreKey: string;
  signature: string;
  preKeys: { id: number; key: string }[];
}

/** A running peer. */
export interface PythonPeer {
  ask(request: object): Promise<Answer>;
  stop(): void;
}

/** Starts one. */
export function startPeer(): PythonPeer {
  const script = new URL('./omemo_peer.py', import.meta.url).pathname;
  const child = spawn(PYTHON, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (request: object): Promise<Answer> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await lines.next();
    if (line.done === true) throw new Error('the peer has ended');
    const answer = JSON.parse(line.value) as Answer;
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  return { ask, stop: () => child.stdin.end() };
}
