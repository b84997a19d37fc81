/** Dino 0.4.2: what may go wrong on the way. */
import { mishaps } from './support/mishaps.ts';
import { DINO } from './support/manners.ts';

mishaps(DINO);
