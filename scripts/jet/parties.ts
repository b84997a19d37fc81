/** Who speaks in the vectors: the people of the specification's examples, and an attacker. */
import { omemoDevice } from './omemo.ts';

/** Offers files, and has those that are asked for. */
export const romeo = omemoDevice('romeo', 'romeo@montague.example/orchard', 27183);
/** Is offered files, and asks for some. */
export const juliet = omemoDevice('juliet', 'juliet@capulet.example/balcony', 31415);
/** Another device of hers, which no vector is read by. */
export const tablet = omemoDevice('juliet, tablet', 'juliet@capulet.example/tablet', 14142);
/** Another account: trusted as what it is. */
export const mallory = omemoDevice('mallory', 'mallory@evil.example/x', 16180);
/** A device of Romeo's that nobody knows, and one that has the number of the known one. */
export const unknown = omemoDevice('romeo, new', 'romeo@montague.example/new', 17320);
/** The known number with another key. */
export const exchanged = omemoDevice('romeo, exchanged', romeo.jid, romeo.id);

/** An address without its resource. */
export const bare = (jid: string) => jid.replace(/\/.*/, '');
