/** Dino 0.4.2: files in every combination. */
import { files } from './support/suite.ts';
import { DINO } from './support/manners.ts';

files(DINO);
