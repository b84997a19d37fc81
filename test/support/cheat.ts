/** A peer that holds every key and lies: what one side seals says something else. */
import { onTestFinished, vi } from 'vitest';
import { SealedContent } from '../../src/transfer/sealed.ts';

/** Has what one side seals say something else. One side alone calls each of them. */
export function cheat<K extends 'accept' | 'checksum' | 'grant' | 'landed'>(
  label: K,
  change: (...said: Parameters<SealedContent[K]>) => Parameters<SealedContent[K]>,
): void {
  const honest = SealedContent.prototype[label] as (...said: unknown[]) => unknown;
  const spy = vi.spyOn(SealedContent.prototype, label);
  const seal = function (this: SealedContent, ...said: Parameters<SealedContent[K]>) {
    return honest.apply(this, change(...said));
  };
  spy.mockImplementation(seal as never);
  onTestFinished(() => {
    spy.mockRestore();
  });
}

/** A word is changed. */
export type Lie<K extends 'accept' | 'checksum' | 'grant' | 'landed'> = [
  what: string,
  change: (...said: Parameters<SealedContent[K]>) => Parameters<SealedContent[K]>,
];
