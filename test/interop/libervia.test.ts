/** Libervia 0.9.0. */
import { mishaps } from './support/mishaps.ts';
import { files } from './support/suite.ts';
import { LIBERVIA } from './support/manners.ts';

files(LIBERVIA);
mishaps(LIBERVIA);
