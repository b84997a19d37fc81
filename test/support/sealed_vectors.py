"""The vectors of docs/sealed.md by an implementation of their own: python3 sealed_vectors.py FOLDER.

Written from the specification with Python's `cryptography`; prints what was checked as JSON.
"""

import base64
import binascii
import hashlib
import json
import pathlib
import struct
import sys
import xml.etree.ElementTree as ET

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NS = "urn:xmpp:jet-transfer:0"
FILE = "{urn:xmpp:jingle:apps:file-transfer:5}"
HASH = "{urn:xmpp:hashes:2}hash"
LONGEST = 16384
SIZE = 23


class Refused(Exception):
    pass


def framed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


class Side:
    """One side of a content, as §6 to §8 have it."""

    def __init__(self, case, role):
        own, peer = (case[role], case["other" if role == "maker" else "maker"])
        self.role = role
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(own["privateKey"]))
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert raw.hex() == own["identityKey"], "identity key"
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(peer["identityKey"]))
        self.agreement = private.exchange(public)
        self.iv = bytes.fromhex(case["secret"]["iv"])
        if len(self.iv) != 12:
            raise Refused("malformed")
        self.transport_key = bytes.fromhex(case["secret"]["key"])
        binding = case["binding"]
        names = ("sid", "creator", "name", "senders", "cipher", "type")
        self.base = [b"0", self.iv] + [binding[name].encode() for name in names]
        for party in (case["maker"], case["other"]):
            self.base += [bytes.fromhex(party["identityKey"]), party["jid"].encode()]
        self.first = "offer" if binding["senders"] == binding["creator"] else "request"
        self.seen = {}

    def derive(self, info, length):
        kdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=self.iv, info=info)
        return kdf.derive(self.transport_key + self.agreement)

    def info(self, label):
        return framed(NS.encode(), label.encode())

    def aad(self, label):
        bound = [] if label == self.first else [self.seen[self.first]]
        if label in ("checksum", "landed"):
            bound.append(self.seen["accept"])
        return framed(*self.base, *bound)

    def maker_of(self, label):
        encrypts = "maker" if self.first == "offer" else "other"
        decrypts = "other" if self.first == "offer" else "maker"
        return {
            self.first: "maker",
            "accept": "other",
            "checksum": encrypts,
            "landed": decrypts,
        }.get(label)

    def in_place(self, label, by):
        after = {self.first: None, "accept": self.first, "checksum": "accept", "landed": "accept"}
        if self.maker_of(label) != by:
            raise Refused("out-of-place")
        if after[label] is not None and after[label] not in self.seen:
            raise Refused("out-of-place")
        if label in self.seen:
            raise Refused("repeated")

    def seal(self, label, nonce, padded):
        self.in_place(label, self.role)
        key = self.derive(self.info(label), 32)
        sealed = nonce + AESGCM(key).encrypt(nonce, padded, self.aad(label))
        self.seen[label] = sealed
        return sealed

    def open(self, label, sealed):
        if label != "landed" or self.seen.get(label) != sealed:
            self.in_place(label, "other" if self.role == "maker" else "maker")
        blocks, rest = divmod(len(sealed) - 12 - 16, 256)
        if blocks < 1 or rest != 0 or len(sealed) > 12 + 65 * 256 + 16:
            raise Refused("malformed")
        key = self.derive(self.info(label), 32)
        try:
            padded = AESGCM(key).decrypt(sealed[:12], sealed[12:], self.aad(label))
        except InvalidTag:
            raise Refused("not-authentic") from None
        (length,) = struct.unpack(">I", padded[:4])
        if length > LONGEST or len(pad(bytes(length))) != len(padded) or any(padded[4 + length :]):
            raise Refused("malformed")
        self.seen[label] = sealed
        return padded[4 : 4 + length]

    def transfer_id_info(self):
        said = (self.seen[self.first], self.seen["accept"])
        digests = [hashlib.sha256(one).digest() for one in said]
        return framed(NS.encode(), b"transfer-id", *digests)


def pad(plaintext):
    data = framed(plaintext)
    return data + bytes(-len(data) % 256)


def same(what, ours, theirs):
    if ours != theirs:
        raise AssertionError(f"{what}: {ours!r} is not {theirs!r}")


def course(case):
    maker, other = Side(case, "maker"), Side(case, "other")
    same("agreement", maker.agreement.hex(), case["agreement"])
    same("agreement", other.agreement.hex(), case["agreement"])
    for element in case["elements"]:
        label = element["label"]
        speaker, listener = (maker, other) if element["from"] == "maker" else (other, maker)
        plaintext = element["plaintext"].encode()
        same("info", speaker.info(label).hex(), element["info"])
        same("key", speaker.derive(speaker.info(label), 32).hex(), element["key"])
        same("aad", speaker.aad(label).hex(), element["aad"])
        same("padded", pad(plaintext).hex(), element["padded"])
        sealed = speaker.seal(label, bytes.fromhex(element["nonce"]), pad(plaintext))
        same("sealed", base64.b64encode(sealed).decode(), element["sealed"])
        same("opened", listener.open(label, sealed), plaintext)
    if "transferId" in case:
        for side in (maker, other):
            same("info of the id", side.transfer_id_info().hex(), case["transferId"]["info"])
            same("id", side.derive(side.transfer_id_info(), 16).hex(), case["transferId"]["id"])
    return {"maker": maker, "other": other}


def strong(parent):
    found = [one for one in parent.findall(HASH) if one.get("algo") == "sha-256"]
    return bool(found) and len(base64.b64decode(found[0].text)) == 32


def of_blocks(root, size, resumed):
    """Bytes of the list of hashes that is wanted (§4.3), None where none is; ValueError where nobody serves it."""
    wish = root.find(f"{{{NS}}}hashes")
    if wish is None:
        return None
    block = int(wish.get("block"))
    blocks = -(-size // block)
    if not resumed or block < 65536 or blocks > 65536:
        raise ValueError("hashes that nobody serves")
    return 32 * blocks


def first_of(case):
    """What the first element says: the size of the file, and whether a transfer is gone on with."""
    if not case["elements"]:
        return SIZE, False
    root = ET.fromstring(case["elements"][0]["plaintext"])
    size = root.find(f"{FILE}file/{FILE}size")
    resumed = root.find(f"{{{NS}}}resume") is not None
    return SIZE if size is None else int(size.text), resumed


def boolean(element, name):
    """An attribute as XML Schema has it: false where it is absent, None for what is none."""
    return {"true": True, "1": True, "false": False, "0": False}.get(element.get(name, "0"))


def counted(root):
    """Whether an offer that is one of several says so rightly, or says nothing of it."""
    of = root.find(f"{{{NS}}}of")
    if of is None:
        return True
    send = of.get("send")
    rightly = len(send) == 32 and all(digit in "0123456789abcdef" for digit in send)
    rightly = rightly and boolean(of, "joint") is not None
    return rightly and int(of.get("index")) < int(of.get("count")) <= 1000000


def headed(root, size):
    """The same of the list of a folder or a batch."""
    tree = root.find(f"{{{NS}}}tree")
    if tree is None:
        return True
    listed, files = int(tree.get("list")), int(tree.get("files"))
    batch = boolean(tree, "batch")
    digest = base64.b64decode(tree.get("sha256"))
    fits = listed + files <= size and listed <= 64 * 1024 * 1024
    return batch is not None and fits and len(digest) == 32 and not (batch and files == 0)


def lines_of(case):
    """How many lines the list of the offer has; none, where that is one of a file."""
    if "stream" not in case:
        return 0
    tree = ET.fromstring(case["elements"][0]["plaintext"]).find(f"{{{NS}}}tree")
    return base64.b64decode(case["stream"])[: int(tree.get("list"))].count(b"\n")


def lacking(case, root):
    """Whether a receipt names what has not landed, where it has to and nowhere else."""
    missing = root.find(f"{{{NS}}}missing")
    if root.get("as") != "partly":
        return missing is None
    if missing is None:
        return False
    words = (missing.text or "").split(" ")
    if not all(word.isdecimal() for word in [missing.get("count", ""), *words]):
        return False
    count, lines = int(missing.get("count")), [int(word) for word in words]
    rising = all(one < two for one, two in zip(lines, lines[1:]))
    rest = count - len(lines)
    return rising and len(lines) == min(count, 1000) and lines[-1] + rest < lines_of(case)


def travels(case):
    """The stream of a folder or a batch is what its offer and its list say."""
    if "stream" not in case:
        return
    stream = base64.b64decode(case["stream"])
    texts = {element["label"]: element["plaintext"] for element in case["elements"]}
    root = ET.fromstring(texts["offer"])
    name = root.find(f"{FILE}file/{FILE}name").text
    tree = root.find(f"{{{NS}}}tree")
    batch = tree.get("batch") == "true"
    listed, files = int(tree.get("list")), int(tree.get("files"))
    same("size", int(root.find(f"{FILE}file/{FILE}size").text), len(stream))
    head = stream[:listed]
    same("digest", hashlib.sha256(head).digest(), base64.b64decode(tree.get("sha256")))
    entries = [json.loads(line) for line in head.decode().splitlines()]
    same("name", entries[0]["path"], name)
    for entry in entries[0 if batch else 1 :]:
        inside = "/" not in entry["path"] if batch else entry["path"].startswith(name + "/")
        same("place", inside, True)
        same("kind", entry["kind"] in (("file",) if batch else ("file", "folder", "link")), True)
    sizes = [entry["size"] for entry in entries if entry["kind"] == "file"]
    same("files", len(sizes), files)
    same("bytes", listed + sum(sizes) + files, len(stream))
    same("states", set(stream[-files:]) <= set(b"01"), True)
    checksum = ET.fromstring(texts["checksum"]).find(f"{FILE}file/{FILE}range/{HASH}")
    same("hash", base64.b64decode(checksum.text), hashlib.sha256(stream).digest())
    same("says", says(case, "landed", texts["landed"]), True)
    missing = ET.fromstring(texts["landed"]).find(f"{{{NS}}}missing")
    unread = [n for n, state in enumerate(stream[-files:]) if state == 0x30]
    if unread:
        named = [int(word) for word in missing.text.split(" ")]
        places = [n for n, entry in enumerate(entries) if entry["kind"] == "file"]
        same("unread", all(places[n] in named for n in unread), True)


def says(case, label, body):
    """What a body has to say (§4), for a file that goes whole."""
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        return False
    files = root.findall(f"{FILE}file")
    if root.tag != f"{{{NS}}}{label}" or len(files) != 1:
        return False
    file = files[0]
    name, size, span = (file.find(FILE + tag) for tag in ("name", "size", "range"))
    bytes_ = None if size is None else int(size.text)
    offset = 0 if span is None else int(span.get("offset", "0"))
    length = None if span is None or span.get("length") is None else int(span.get("length"))
    if label == "offer":
        named = name is not None and bool(name.text) and bytes_ is not None
        return named and counted(root) and headed(root, bytes_)
    if label == "request":
        try:
            of_blocks(root, bytes_ or 0, root.find(f"{{{NS}}}resume") is not None)
        except ValueError:
            return False
        return file.find(HASH) is not None or (name is not None and bytes_ is not None)
    if label == "accept":
        whole, resumed = first_of(case)
        try:
            listed = of_blocks(root, whole, resumed)
        except ValueError:
            return False
        if listed is not None:
            return (bytes_, offset, length) == (listed, 0, listed)
        return bytes_ == whole and length is not None and offset + length <= whole
    if label == "checksum":
        return (offset, length) == (0, SIZE) and strong(span)
    known = root.get("as") in ("file", "partly", "range", "stdout")
    return known and bytes_ is not None and length is not None and strong(file) and lacking(case, root)


def from_stanza(case, side, label, stanza):
    found = ET.fromstring(stanza).findall(f"{{{NS}}}sealed")
    if not found:
        raise Refused("missing")
    if len(found) > 1:
        raise Refused("repeated")
    if found[0].get("label") != label:
        raise Refused("out-of-place")
    try:
        sealed = base64.b64decode("".join(found[0].text.split()), validate=True)
    except binascii.Error:
        raise Refused("malformed") from None
    if not says(case, label, side.open(label, sealed)):
        raise Refused("malformed")


def lists(case):
    """Where hashes are wanted the streams are right, and their checksum is that of the list."""
    texts = {element["label"]: element["plaintext"] for element in case["elements"]}
    if not case["name"].endswith("-hashes"):
        return
    for label, text in texts.items():
        root = ET.fromstring(text)
        if label in ("request", "accept") and root.find(f"{{{NS}}}hashes") is not None:
            same("says", says(case, label, text), True)
            block = int(root.find(f"{{{NS}}}hashes").get("block"))
    size, _ = first_of(case)
    line = b"It is always tea-time.\n"
    data = (line * (size // len(line) + 1))[:size]
    parts = [data[at : at + block] for at in range(0, size, block)]
    listed = b"".join(hashlib.sha256(part).digest() for part in parts)
    found = ET.fromstring(texts["checksum"]).find(f"{FILE}file/{FILE}range")
    same("bytes of the list", int(found.get("length")), len(listed))
    digest = base64.b64encode(hashlib.sha256(listed).digest()).decode()
    same("hash of the list", found.find(HASH).text, digest)


def check(case):
    """True for a case that ends in a refusal."""
    last = case.get("refused")
    try:
        sides = course(case)
        if last is None:
            lists(case)
            travels(case)
            return False
        side = sides[last["by"]]
        if "stanza" in last:
            from_stanza(case, side, last["label"], last["stanza"])
        else:
            side.open(last["label"], base64.b64decode(last["sealed"]))
    except Refused as refusal:
        same("reason", str(refusal), last and last["reason"])
        return True
    raise AssertionError("it was not refused")


def main(folder):
    files = sorted(pathlib.Path(folder).glob("*.json"))
    refused, failures = 0, []
    for path in files:
        try:
            refused += check(json.loads(path.read_text("utf-8")))
        except AssertionError as error:
            failures.append(f"{path.name}: {error}")
    print(json.dumps({"files": len(files), "refused": refused, "failures": failures}))


main(sys.argv[1])
