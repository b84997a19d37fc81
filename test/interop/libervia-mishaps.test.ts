/** Libervia 0.9.0: what may go wrong on the way. */
import { mishaps } from './support/mishaps.ts';
import { LIBERVIA } from './support/manners.ts';

mishaps(LIBERVIA);
