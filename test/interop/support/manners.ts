/** How the clients differ, as far as a test has to expect it. */
import { PATHS, STATES } from './plan.ts';
import type { Manners } from './suite.ts';

/** Dino 0.4.2: its encrypted in-band streams work in neither direction. */
export const DINO: Manners = {
  title: 'Dino 0.4.2',
  kind: 'dino',
  to: { paths: ['direct', 'proxy'], states: STATES },
  from: { paths: ['direct', 'proxy'], states: STATES },
  routeOf: (path) => path,
  receiveArgs: (path) => ['--route', path],
  declines: false,
  cancels: true,
  // It leaves the size out, and then refuses its own offer.
  unsendable: ({ size }) => size === 0,
};

/** Libervia 0.9.0: its activation of a proxy fails, and the file goes in-band. */
export const LIBERVIA: Manners = {
  title: 'Libervia 0.9.0',
  kind: 'libervia',
  to: { paths: PATHS, states: STATES },
  from: { paths: ['direct', 'ibb'], states: STATES },
  routeOf: (path) => path,
  receiveArgs: (path) => ['--route', path],
  declines: true,
  cancels: false,
  unsendable: () => false,
};
