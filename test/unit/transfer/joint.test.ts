/** What may be added to a session of offers, both sides in this process. */
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { JointSession } from '../../../src/jingle/joint.ts';
import { JINGLE } from '../../../src/jingle/stanza.ts';
import { parse } from '../../../src/xmpp/xml.ts';
import type { Sendable } from '../../../src/transfer/send.ts';
import { createExchange } from '../../support/exchange.ts';

const SEND = '0123456789abcdef'.repeat(2);

/** A file that holds its name. */
function sourceOf(name: string): Sendable {
  const bytes = Buffer.from(name);
  return {
    ...{ name, mtime: new Date(0), size: bytes.length },
    read: (offset, end) => Readable.from([bytes.subarray(offset, end)]),
    close: () => Promise.resolve(),
  };
}

async function createJoint() {
  const exchange = await createExchange({ sealed: true });
  const { ours, offer, folder } = exchange;
  const joint = new JointSession(ours.sessions, ours);
  const add = (name: string, index: number) => {
    const of = { send: SEND, index, count: 3, joint: true };
    return offer(sourceOf(name), { of }, joint);
  };
  const landed = () => readdir(folder);
  return { ...exchange, joint, add, landed };
}

test('offers of one device are contents of one session', async () => {
  const { add, joint, landed, network } = await createJoint();
  const actions: string[] = [];
  network.tap((stanza) => {
    const action = stanza.getChild('jingle', JINGLE)?.attrs['action'];
    if (action !== undefined) actions.push(action);
    return undefined;
  });
  expect(await Promise.all([add('a', 0), add('b', 1), add('c', 2)])).toEqual([0, 0, 0]);
  await joint.close();
  expect(await landed()).toEqual(['a', 'b', 'c']);
  const count = (action: string) => actions.filter((one) => one === action).length;
  expect(['session-initiate', 'content-add', 'session-terminate'].map(count)).toEqual([1, 2, 1]);
});

test('another device of the same account adds nothing', async () => {
  const { add, changeDevice, landed, refused } = await createJoint();
  expect(await add('a', 0)).toBe(0);
  changeDevice();
  expect(await add('b', 1)).toBe(6);
  expect(await landed()).toEqual(['a']);
  expect(refused).toEqual(['another device of it began the session']);
});

test('a request is no offer', async () => {
  const { add, bob, landed, network, refused } = await createJoint();
  expect(await add('a', 0)).toBe(0);
  let turned = false;
  network.tap((stanza) => {
    const jingle = stanza.getChild('jingle', JINGLE);
    if (turned || jingle?.attrs['action'] !== 'content-add') return undefined;
    turned = true;
    const text = stanza.toString().replace('senders="initiator"', 'senders="responder"');
    const other = parse(text.replace('label="offer"', 'label="request"'));
    if (other !== undefined) network.inject(bob.connection.jid, other);
    return 'drop';
  });
  expect(await add('b', 1)).not.toBe(0);
  expect(turned).toBe(true);
  expect(await landed()).toEqual(['a']);
  expect(refused).toEqual(['it asked for a file among its offers']);
});
