/** Libervia 0.9.0: files in every combination. */
import { files } from './support/suite.ts';
import { LIBERVIA } from './support/manners.ts';

files(LIBERVIA);
