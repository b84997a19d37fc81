/** The real server of the integration tests. */
export {
  hasProsody,
  startProsody,
  type Prosody,
  type ProsodyOptions,
} from '../../scripts/prosody.ts';
