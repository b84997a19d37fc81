/** A client that is not jet, as far as a sender can tell: online, with the features that a test names. */
import { readFile } from 'node:fs/promises';
import { systemClock } from '../../src/core/clock.ts';
import { Jid } from '../../src/core/jid.ts';
import { connect } from '../../src/xmpp/connect.ts';
import { Disco } from '../../src/xmpp/disco.ts';
import { answerPings, PING } from '../../src/xmpp/ping.ts';
import { Presence } from '../../src/xmpp/presence.ts';
import type { Prosody } from './prosody.ts';

/** Who is online with what. */
export interface OtherClient {
  readonly server: Prosody;
  readonly name: string;
  readonly password: string;
  readonly software: string;
  readonly features?: readonly string[];
}

/** Brings it online, answering disco and pings of everybody. Gives the end of it. */
export async function otherClient(who: OtherClient): Promise<() => Promise<void>> {
  const jid = Jid.parse(`${who.name}@${who.server.domain}`);
  if (jid === undefined) throw new Error(`${who.name} is no name of an account`);
  const connection = await connect({
    jid,
    password: () => who.password,
    server: { host: who.server.address, port: who.server.port, tls: false },
    ca: await readFile(who.server.caFile),
    clock: systemClock,
  });
  const disco = new Disco(connection, who.software);
  disco.addFeatures(PING, ...(who.features ?? []));
  answerPings(connection);
  connection.audience = () => true;
  await new Presence(connection, disco, systemClock).available();
  return () => connection.close();
}
