/** The tables of XEP-0384 state. Every table is by account: one home may hold several. */
import type { Schema } from '../store/store.ts';

/** Our device and its keys, the sessions with others, and whom to trust. */
export const omemoSchema: Schema = {
  name: 'omemo',
  steps: [
    `CREATE TABLE omemo_device (
       account TEXT PRIMARY KEY,
       id INTEGER NOT NULL,
       identity_priv BLOB NOT NULL,
       identity_pub BLOB NOT NULL,
       next_prekey INTEGER NOT NULL,
       next_signed INTEGER NOT NULL,
       stale INTEGER NOT NULL,
       created INTEGER NOT NULL)`,
    `CREATE TABLE omemo_signed_prekey (
       account TEXT NOT NULL,
       id INTEGER NOT NULL,
       priv BLOB NOT NULL,
       pub BLOB NOT NULL,
       signature BLOB NOT NULL,
       created INTEGER NOT NULL,
       PRIMARY KEY (account, id))`,
    `CREATE TABLE omemo_prekey (
       account TEXT NOT NULL,
       id INTEGER NOT NULL,
       priv BLOB NOT NULL,
       pub BLOB NOT NULL,
       PRIMARY KEY (account, id))`,
    `CREATE TABLE omemo_session (
       key INTEGER PRIMARY KEY AUTOINCREMENT,
       account TEXT NOT NULL,
       jid TEXT NOT NULL,
       device INTEGER NOT NULL,
       identity TEXT NOT NULL,
       state BLOB NOT NULL,
       version INTEGER NOT NULL,
       rank INTEGER NOT NULL,
       reply_due INTEGER NOT NULL)`,
    'CREATE INDEX omemo_session_of ON omemo_session (account, jid, device, rank)',
    // A key may be shown under several JIDs, for bundles can be copied: one row for each.
    `CREATE TABLE omemo_identity (
       account TEXT NOT NULL,
       identity TEXT NOT NULL,
       jid TEXT NOT NULL,
       device INTEGER,
       state TEXT NOT NULL,
       proven INTEGER NOT NULL DEFAULT 0,
       since INTEGER NOT NULL,
       tagged INTEGER NOT NULL DEFAULT 0,
       PRIMARY KEY (account, identity, jid))`,
    'CREATE INDEX omemo_identity_of ON omemo_identity (account, jid)',
    `CREATE TABLE omemo_contact (
       account TEXT NOT NULL,
       jid TEXT NOT NULL,
       since INTEGER NOT NULL,
       PRIMARY KEY (account, jid))`,
    `CREATE TABLE omemo_allowance (
       account TEXT NOT NULL,
       subject TEXT NOT NULL,
       hour INTEGER NOT NULL,
       used INTEGER NOT NULL,
       PRIMARY KEY (account, subject))`,
    // Keys that made a sealed element which opened: theirs is a jet, whatever disco says.
    `CREATE TABLE omemo_jet (
       account TEXT NOT NULL,
       identity TEXT NOT NULL,
       since INTEGER NOT NULL,
       PRIMARY KEY (account, identity))`,
    // The last mark of this state on the server, and the file that it was written in.
    'ALTER TABLE omemo_device ADD COLUMN mark TEXT',
    'ALTER TABLE omemo_device ADD COLUMN place TEXT',
    // A session that may still receive, but whose sending chain another copy may have, too.
    'ALTER TABLE omemo_session ADD COLUMN retired INTEGER NOT NULL DEFAULT 0',
  ],
};
