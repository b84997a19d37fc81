/** Dino 0.4.2. */
import { mishaps } from './support/mishaps.ts';
import { files } from './support/suite.ts';
import { DINO } from './support/manners.ts';

files(DINO);
mishaps(DINO);
