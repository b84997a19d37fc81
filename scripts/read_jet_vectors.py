"""Reads the test vectors of test/vectors/jet on its own and says what each means.

Shares nothing with jet: python3-cryptography for AES-GCM, python3-oldmemo for OMEMO 0.3, the standard library
for XML and hashes. What a vector says of its outcome is taken away before it is read, and compared after that.

    read_jet_vectors.py FOLDER    prints one line of JSON: {"files": …, "outcomes": {…}, "failures": […]}
"""
import asyncio
import base64
import binascii
import collections
import hashlib
import hmac
import json
import pathlib
import re
import sys
import time
import xml.etree.ElementTree as ET

import doubleratchet
import x3dh
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from oldmemo import oldmemo
from omemo.backend import DecryptionFailed, KeyExchangeFailed
from omemo.storage import Just, Nothing, Storage
from x3dh.models import BaseStateModel, IdentityKeyPairModel, SignedPreKeyPairModel
from x3dh.types import SecretType
import xeddsa

JINGLE = "{urn:xmpp:jingle:1}"
FILE = "{urn:xmpp:jingle:apps:file-transfer:5}"
HASH = "{urn:xmpp:hashes:2}"
JET = "{urn:xmpp:jingle:jet:0}"
STUB = "urn:xmpp:encryption:stub:0"
OMEMO = "eu.siacs.conversations.axolotl"
CIPHERS = {
    "urn:xmpp:ciphers:aes-128-gcm-nopadding": 16,
    "urn:xmpp:ciphers:aes-256-gcm-nopadding": 32,
}
# XEP-0300's names in hashlib, those that prove something.
FUNCTIONS = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
    "sha3-256": hashlib.sha3_256,
    "sha3-512": hashlib.sha3_512,
    "blake2b-512": hashlib.blake2b,
}


class Refused(Exception):
    """The outcome of a content that is not taken; `early`, what it is to who stops reading at size + 16."""

    early = None


def unbase64(text, outcome):
    try:
        return base64.b64decode("".join((text or "").split()), validate=True)
    except binascii.Error:
        raise Refused(outcome) from None


def raw_public(private):
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def shown_bytes(shown):
    """Bytes as a vector shows them: base64, or SHA-256 of "SEED 0", "SEED 1", … cut to the length."""
    if "base64" in shown:
        return base64.b64decode(shown["base64"], validate=True)
    length, out, n = shown["length"], b"", 0
    while len(out) < length:
        out += hashlib.sha256(f"{shown['seed']} {n}".encode()).digest()
        n += 1
    return out[:length]


class Memory(Storage):
    def __init__(self, values):
        super().__init__(True)
        self.values = values

    async def _load(self, key):
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key, value):
        self.values[key] = value

    async def _delete(self, key):
        self.values.pop(key, None)


class Device:
    """The OMEMO device of a vector, in python3-oldmemo."""

    def __init__(self, shown):
        self.id = shown["device"]
        self.trusted = {
            (one["jid"], one["device"], one["identityKey"]) for one in shown["trusted"]
        }
        self.sessions = {}
        self.pre_keys = {one["id"]: self.private(one) for one in shown["preKeys"]}
        self.private(shown["identity"])
        signed = [(one["id"], self.private(one)) for one in shown["signedPreKeys"]]
        signed = [(i, SignedPreKeyPairModel(priv=k, sig=bytes(64), timestamp=int(time.time()))) for i, k in signed]
        (old_id, old), (new_id, new) = sorted(signed, key=lambda one: one[0])
        state = BaseStateModel(
            identity_key=IdentityKeyPairModel(
                secret=bytes.fromhex(shown["identity"]["private"]), secret_type=SecretType.PRIV
            ),
            signed_pre_key=new,
            old_signed_pre_key=old,
            pre_keys=frozenset(self.pre_keys.values()),
        )

        def numbers(pairs):
            return {base64.b64encode(raw_public(key)).decode(): i for i, key in pairs}

        store = Memory({
            f"/{OMEMO}/x3dh": json.loads(state.json()),
            f"/{OMEMO}/signed_pre_key_ids": numbers([(old_id, old.priv), (new_id, new.priv)]),
            f"/{OMEMO}/pre_key_ids": numbers(self.pre_keys.items()),
            f"/{OMEMO}/pre_key_id_counter": 100_000,
        })
        self.backend = oldmemo.Oldmemo(store)

    @staticmethod
    def private(pair):
        key = bytes.fromhex(pair["private"])
        if raw_public(key).hex() != pair["public"]:
            raise AssertionError("a public key is not that of its private key")
        return key

    def open(self, element, sender, key_length):
        """Key and IV of a key transport element."""
        header = element.find(f"{{{OMEMO}}}header")
        sid = header.get("sid", "") if header is not None else ""
        if element.tag != f"{{{OMEMO}}}encrypted" or not re.fullmatch("[0-9]{1,10}", sid):
            raise Refused("malformed envelope")
        keys = [k for k in header.findall(f"{{{OMEMO}}}key") if k.get("rid") == str(self.id)]
        if not keys:
            raise Refused("envelope for another device")
        message = unbase64(keys[0].text, "malformed envelope")
        iv = unbase64(header.findtext(f"{{{OMEMO}}}iv"), "malformed envelope")
        if len(keys) > 1 or len(iv) not in (12, 16):
            raise Refused("malformed envelope")
        exchange = keys[0].get("prekey") in ("true", "1")
        plain = asyncio.run(self.decrypt(sender, int(sid), message, exchange))
        if len(plain) not in (key_length, key_length + 16):
            raise Refused("malformed envelope")
        return plain[:key_length], iv

    async def decrypt(self, jid, sid, message, is_exchange):
        known = self.sessions.get((jid, sid))
        try:
            exchange = None
            if is_exchange:
                exchange, message = oldmemo.KeyExchangeImpl.parse(message, False)
            elif known is None:
                raise Refused("envelope from a stranger")
            sealed = oldmemo.EncryptedKeyMaterialImpl.parse(message, jid, sid)
        except ValueError:
            raise Refused("malformed envelope") from None
        if exchange is not None:
            identity = xeddsa.ed25519_pub_to_curve25519_pub(exchange.identity_key)
            if (jid, sid, identity.hex()) not in self.trusted:
                raise Refused("envelope from a stranger")
        try:
            if exchange is None or (known and known.key_exchange.builds_same_session(exchange)):
                plain = await self.backend.decrypt_key_material(known, sealed)
            else:
                session, plain = await self.backend.build_session_passive(jid, sid, exchange, sealed)
                self.sessions[jid, sid] = session
                # Used up: what names it again is not taken.
                if not await self.backend.delete_pre_key(session):
                    raise AssertionError("the prekey was not there")
        except KeyExchangeFailed:
            raise Refused("envelope replayed") from None
        except DecryptionFailed as error:
            if isinstance(error.__cause__, doubleratchet.DuplicateMessageException):
                raise Refused("envelope replayed") from None
            raise Refused("envelope changed") from None
        return plain.key + plain.auth_tag


def integer(text):
    if text is None or not re.fullmatch("[0-9]{1,16}", text.strip()):
        raise Refused("malformed file")
    return int(text)


def read_hashes(parent):
    """Pairs of function and digest; unknown functions are left out."""
    found = []
    for element in parent.findall(f"{HASH}hash"):
        function = FUNCTIONS.get(element.get("algo"))
        if function is None:
            continue
        digest, size = unbase64(element.text, "malformed file"), function().digest_size
        if len(digest) == 2 * size:
            try:
                digest = bytes.fromhex(digest.decode("ascii"))
            except ValueError:
                raise Refused("malformed file") from None
        if len(digest) != size:
            raise Refused("malformed file")
        found.append((function, digest))
    return found


def read_range(file):
    element = file.find(f"{FILE}range")
    if element is None:
        return 0, None
    length = element.get("length")
    return integer(element.get("offset", "0")), None if length is None else integer(length)


def only_file(parent):
    description = parent.find(f"{FILE}description")
    files = [] if description is None else description.findall(f"{FILE}file")
    if len(files) != 1 or len(files[0].findall(f"{FILE}size")) > 1:
        raise Refused("malformed file")
    return files[0]


def read_secret(content, sender, device):
    """XEP-0391 §4 and §7."""
    elements = content.findall(f"{JET}security")
    if not elements:
        raise Refused("not encrypted")
    security = elements[0]
    cipher, kind = security.get("cipher"), security.get("type")
    envelopes = [one for one in security if one.tag.startswith(f"{{{kind}}}")]
    if len(elements) > 1 or not cipher or not kind or len(envelopes) != 1:
        raise Refused("malformed security")
    if security.get("name", content.get("name")) != content.get("name"):
        raise Refused("malformed security")
    key_length = CIPHERS.get(cipher.removesuffix(":0"))
    if key_length is None or (kind == OMEMO and key_length != 16):
        raise Refused("unknown cipher")
    if kind == STUB:
        payload = envelopes[0].findtext(f"{{{STUB}}}payload")
        secret = unbase64(payload, "malformed envelope")
        if envelopes[0].tag != f"{{{STUB}}}encrypted" or len(secret) - key_length not in (12, 16):
            raise Refused("malformed envelope")
        key, iv = secret[:key_length], secret[key_length:]
    elif kind == OMEMO and device is not None:
        key, iv = device.open(envelopes[0], sender, key_length)
    else:
        raise Refused("unknown envelope")
    if iv in key:
        raise Refused("key reused as IV")
    return key, iv


class Course:
    """What the stanzas say of one content."""

    def __init__(self, vector, shown):
        self.added = self.accepted = None
        self.checksums = []
        for text in vector["stanzas"]:
            iq = ET.fromstring(text)
            jingle = iq.find(f"{JINGLE}jingle")
            foreign = iq.get("from") != vector["reader"]["jid"]
            for content in jingle.findall(f"{JINGLE}content"):
                if (content.get("creator"), content.get("name")) != (shown["creator"], shown["name"]):
                    continue
                if jingle.get("action") in ("session-initiate", "content-add") and foreign:
                    self.added, self.sender = content, iq.get("from").split("/")[0]
                elif jingle.get("action") in ("session-accept", "content-accept"):
                    self.accepted = content
            for checksum in jingle.findall(f"{FILE}checksum"):
                if foreign and (checksum.get("creator"), checksum.get("name")) == (
                    shown["creator"],
                    shown["name"],
                ):
                    self.checksums.append(checksum.find(f"{FILE}file"))
        if self.added is None:
            raise AssertionError(f"nobody has added {shown['name']}")


def read_content(vector, shown, device):
    """Key, IV and plaintext of a content. Raises Refused with any outcome but success."""
    course = Course(vector, shown)
    file = only_file(course.added)
    is_offer = course.added.get("senders") == course.added.get("creator")
    sizes = file.find(f"{FILE}size")
    size = integer(sizes.text) if sizes is not None else None
    asked = read_range(file)
    claims = read_hashes(file)
    if is_offer and (size is None or asked[0] != 0 or asked[1] not in (None, size)):
        raise Refused("malformed file")
    key, iv = read_secret(course.added, course.sender, device)
    agreed = None if course.accepted is None else only_file(course.accepted)
    if is_offer:
        offset, length = (0, None) if agreed is None else read_range(agreed)
    else:
        offset, length = asked
        if "file" in shown:
            size = len(shown_bytes(shown["file"]))
        else:
            size = integer(agreed.findtext(f"{FILE}size"))
        claims += [] if agreed is None else read_hashes(agreed)
    if offset > size:
        raise Refused("no such range")
    length = min(size - offset, size if length is None else length)
    wire = read_wire(shown, key, iv)
    plain = decrypted(key, iv, wire[: length + 16])
    if len(wire) != length + 16:
        refusal = Refused("size mismatch")
        if len(wire) > length + 16:
            refusal.early = "tag mismatch" if plain is None else "success"
        raise refusal
    if plain is None:
        raise Refused("tag mismatch")
    whole = plain
    if length != size:
        held = shown_bytes(shown["file"])
        whole = held[:offset] + plain + held[offset + length :]
    ranged = []
    for checksum in course.checksums:
        claims += read_hashes(checksum)
        element = checksum.find(f"{FILE}range")
        if element is None:
            continue
        start, span = read_range(checksum)
        if (start, size - start if span is None else span) == (offset, length):
            ranged += read_hashes(element)
    for data, known in ((whole, claims), (plain, ranged)):
        for function, digest in known:
            if not hmac.compare_digest(function(data).digest(), digest):
                raise Refused("hash mismatch")
    return key, iv, plain


def decrypted(key, iv, wire):
    try:
        return AESGCM(key).decrypt(iv, wire, b"")
    except (InvalidTag, ValueError):  # the latter for what is shorter than a tag
        return None


def read_wire(shown, key, iv):
    wire = shown["wire"]
    if "base64" in wire:
        return base64.b64decode(wire["base64"], validate=True)
    made = AESGCM(key).encrypt(iv, shown_bytes(shown["plaintext"]), b"")
    told = (len(made), hashlib.sha256(made).hexdigest(), made[-16:].hex())
    if told != (wire["length"], wire["sha256"], wire["tag"]):
        raise AssertionError("the plaintext does not become the wire")
    return made


def decide(vector):
    """What each content means: an outcome, and after success key, IV and plaintext."""
    device = Device(vector["reader"]["omemo"]) if "omemo" in vector["reader"] else None
    for text in vector.get("before", []):
        message = ET.fromstring(text)
        sender = message.get("from").split("/")[0]
        device.open(message.find(f"{{{OMEMO}}}encrypted"), sender, 16)
    found = []
    for shown in vector["contents"]:
        try:
            found.append(("success", *read_content(vector, shown, device)))
        except Refused as refusal:
            found.append((str(refusal), refusal.early))
    return found


def blind(vector):
    """A vector without what it says of its outcome."""
    hidden = ("outcome", "stoppingEarly", "secret", "about", "name")
    contents = [
        {k: v for k, v in one.items() if k not in hidden or k == "name"} for one in vector["contents"]
    ]
    return {**{k: v for k, v in vector.items() if k not in hidden}, "contents": contents}


def check(vector):
    found = decide(blind(vector))
    for shown, (outcome, *rest) in zip(vector["contents"], found):
        if outcome != shown["outcome"]:
            raise AssertionError(f"{shown['outcome']} is {outcome}")
        if outcome != "success":
            if rest != [shown.get("stoppingEarly")]:
                raise AssertionError(f"stopping early: {shown.get('stoppingEarly')} is {rest[0]}")
            continue
        key, iv, plain = rest
        if {"key": key.hex(), "iv": iv.hex()} != shown["secret"]:
            raise AssertionError("another secret")
        if plain != shown_bytes(shown["plaintext"]):
            raise AssertionError("another plaintext")
        if AESGCM(key).encrypt(iv, plain, b"") != read_wire(shown, key, iv):
            raise AssertionError("the plaintext does not become the wire")
    outcome = next((one for one, *_ in found if one != "success"), "success")
    if outcome != vector["outcome"]:
        raise AssertionError(f"the header says {vector['outcome']}, the contents {outcome}")
    return outcome


def main(folder):
    files = sorted(pathlib.Path(folder).glob("*.json"))
    outcomes, failures = collections.Counter(), []
    for path in files:
        try:
            outcomes[check(json.loads(path.read_text("utf-8")))] += 1
        except Exception as error:  # whatever is wrong, it is this file's
            failures.append(f"{path.name}: {type(error).__name__}: {error}")
    print(json.dumps({"files": len(files), "outcomes": outcomes, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1])
