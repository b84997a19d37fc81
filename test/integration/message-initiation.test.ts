/** XEP-0353 in both roles with a scripted client, whose presence jet does not see: all goes by bare addresses. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Jid } from '../../src/core/jid.ts';
import { xml, type Element } from '../../src/xmpp/xml.ts';
import { address } from '../support/address.ts';
import { jetHome, type JetHome } from '../support/jet.ts';
import { ended, noise } from '../support/pair.ts';
import { PASSWORD, receive, terminate } from '../support/people.ts';
import { FILE_TRANSFER, JINGLE, need } from '../support/peers/client.ts';
import { Conversations } from '../support/peers/conversations.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';

const JMI = 'urn:xmpp:jingle-message:0';
let server: Prosody;
let alice: JetHome;
let phone: Conversations;
let heard: { readonly element: Element; readonly from: Jid }[] = [];
let look: () => void = () => undefined;

beforeAll(async () => {
  server = await startProsody();
  // No contacts of each other: neither sees the other's presence.
  for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
  alice = await jetHome(server, 'alice', PASSWORD);
  phone = await Conversations.open(server, 'bob');
  phone.client.connection.onMessage((message, from) => {
    const element = message.getChildElements().find((child) => child.getNS() === JMI);
    if (element === undefined || from.sameBare(phone.client.jid)) return;
    heard.push({ element, from });
    look();
  });
});

afterAll(async () => {
  await phone.close();
  await alice.remove();
  await server.stop();
});

/** Waits for a message of the protocol. */
async function next(action: string): Promise<{ element: Element; from: Jid }> {
  for (;;) {
    const found = heard.find(({ element }) => element.name === action);
    heard = heard.filter((one) => one !== found);
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => (look = resolve));
  }
}

function say(to: Jid, action: string, id: string, ...inside: Element[]): Promise<void> {
  const element = xml(action, { xmlns: JMI, id }, ...inside);
  const store = xml('store', { xmlns: 'urn:xmpp:hints' });
  return phone.client.connection.send(
    xml('message', { to: to.toString(), type: 'chat' }, element, store),
  );
}

const conditionOf = (element: Element) => need(element.getChild('reason', JINGLE), 'success').name;

async function sendTo(...args: string[]) {
  const content = noise(40_000);
  const file = join(alice.home, `${randomUUID()}.bin`);
  await writeFile(file, content);
  return { content, sending: alice.start(['send', '--json', ...args, file, 'bob@jet.test']) };
}

test('jet proposes to a bare address, takes ringing and proceed, and says how it finished', async () => {
  const { content, sending } = await sendTo();
  const { element, from } = await next('propose');
  expect(element.getChild('description')?.getNS()).toBe(FILE_TRANSFER);
  const id = element.attrs['id'] ?? '';
  await say(from, 'ringing', id);
  const receiving = phone.receive();
  await say(from, 'proceed', id);
  const sent = await ended(sending);
  expect(sent, sent.stderr).toMatchObject({ status: 0 });
  expect(await receiving).toMatchObject({ state: 'success', saved: content });
  const finish = await next('finish');
  expect([finish.element.attrs['id'], conditionOf(finish.element)]).toEqual([id, 'success']);
});

test('jet is told no by reject: exit 5, and nothing is offered', async () => {
  const { sending } = await sendTo();
  const { element, from } = await next('propose');
  const id = element.attrs['id'] ?? '';
  const reason = xml('reason', { xmlns: JINGLE }, xml('busy'));
  // Of another proposal it means nothing.
  await say(from, 'reject', 'another', reason);
  await say(from, 'reject', id, reason);
  const sent = await ended(sending);
  expect(sent.status).toBe(5);
  expect(sent.stderr).toMatch(/bob@jet\.test declined before anything was offered\./);
  expect((await next('retract')).element.attrs['id']).toBe(id);
});

test('jet takes back a proposal that nobody answers, as Conversations does not', async () => {
  const { sending } = await sendTo('--wait', '6');
  const { element } = await next('propose');
  const sent = await ended(sending);
  expect(sent.status).toBe(4);
  expect(sent.stderr).toMatch(/bob@jet\.test is not online, or does not wait for you/);
  expect((await next('retract')).element.attrs['id']).toBe(element.attrs['id']);
});

test('a waiting jet proceeds with a proposal of a file, not with a call, and the session has its id', async () => {
  const out = join(alice.home, 'out');
  await mkdir(out);
  const receiving = await receive(alice, '--yes', '--out', out, 'bob@jet.test');
  const account = address(alice.jid);
  const description = (xmlns: string) => xml('description', { xmlns });
  await say(account, 'propose', 'call', description('urn:xmpp:jingle:apps:rtp:1'));
  const id = randomUUID();
  await say(account, 'propose', id, description(FILE_TRANSFER));
  const { element, from } = await next('proceed');
  expect([element.attrs['id'], from.isFull]).toEqual([id, true]);
  const content = noise(40_000);
  const sent = await phone.send(from, { name: 'proposed.bin', content }, { sid: id });
  expect(sent).toEqual({ state: 'success' });
  expect((await readFile(join(out, 'proposed.bin'))).equals(content)).toBe(true);
  // What is over, or taken back, may come again; accept and ringing mean nothing here.
  for (const action of ['finish', 'retract']) {
    await say(from, action, id);
    await say(account, 'accept', id);
    await say(account, 'ringing', id);
    await say(account, 'propose', id, description(FILE_TRANSFER));
    expect((await next('proceed')).element.attrs['id']).toBe(id);
  }
  expect(heard).toEqual([]);
  expect(await terminate(receiving)).toBe(0);
});
