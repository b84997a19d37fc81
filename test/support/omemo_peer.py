"""An independent OMEMO peer (python3-oldmemo, python3-twomemo): a JSON request a line, an answer a line."""
import asyncio
import base64
import json
import sys

import x3dh
import xeddsa
from oldmemo import oldmemo
from omemo.storage import Just, Nothing, Storage
from twomemo import twomemo

JID, DEVICE = "tester@example.org", 7


def text(data):
    return base64.b64encode(data).decode()


class Memory(Storage):
    def __init__(self):
        super().__init__(True)
        self.values = {}

    async def _load(self, key):
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key, value):
        self.values[key] = value

    async def _delete(self, key):
        self.values.pop(key, None)


class Peer:
    def __init__(self, profile):
        self.legacy = profile == "legacy"
        self.lib = oldmemo if self.legacy else twomemo
        backend = oldmemo.Oldmemo if self.legacy else twomemo.Twomemo
        self.backend = backend(Memory())
        self.session = None
        self.remote = None

    def material(self, data):
        size = self.lib.PlainKeyMaterialImpl.KEY_LENGTH
        return self.lib.PlainKeyMaterialImpl(data[:size], data[size:])

    async def bundle(self, _):
        await self.backend.generate_pre_keys(20)
        whole = await self.backend.get_bundle("peer@example.org", 9)
        identity, signature = whole.bundle.identity_key, bytearray(whole.bundle.signed_pre_key_sig)
        if self.legacy:
            signature[63] |= identity[31] & 0x80
            identity = xeddsa.ed25519_pub_to_curve25519_pub(identity)
        return {
            "identityKey": text(identity),
            "signedPreKeyId": whole.signed_pre_key_id,
            "signedPreKey": text(whole.bundle.signed_pre_key),
            "signature": text(bytes(signature)),
            "preKeys": [{"id": i, "key": text(k)} for k, i in whole.pre_key_ids.items()],
        }

    async def learn(self, request):
        raw = {k: base64.b64decode(request[k]) for k in ("identityKey", "signedPreKey", "signature")}
        identity, signature = raw["identityKey"], bytearray(raw["signature"])
        if self.legacy:
            identity = xeddsa.curve25519_pub_to_ed25519_pub(identity, bool(signature[63] >> 7))
            signature[63] &= 0x7F
        keys = {base64.b64decode(one["key"]): one["id"] for one in request["preKeys"]}
        inner = x3dh.Bundle(identity, raw["signedPreKey"], bytes(signature), frozenset(keys))
        self.remote = self.lib.BundleImpl(JID, DEVICE, inner, request["signedPreKeyId"], keys)
        return {}

    async def encrypt(self, request):
        plain = self.material(base64.b64decode(request["data"]))
        if self.session is None:
            self.session, sealed = await self.backend.build_session_active(
                JID, DEVICE, self.remote, plain
            )
        else:
            sealed = await self.backend.encrypt_key_material(self.session, plain)
        message = sealed.serialize()
        exchange = self.session.initiation.name == "ACTIVE" and not self.session.confirmed
        if exchange:
            message = self.session.key_exchange.serialize(message)
            message = message[0] if isinstance(message, tuple) else message
        return {"message": text(message), "isKeyExchange": exchange}

    async def burst(self, request):
        for _ in range(request["count"]):
            answer = await self.encrypt(request)
        return answer

    async def decrypt(self, request):
        message, exchange = base64.b64decode(request["message"]), None
        if request["isKeyExchange"]:
            sign = (False,) if self.legacy else ()
            exchange, message = self.lib.KeyExchangeImpl.parse(message, *sign)
        sealed = self.lib.EncryptedKeyMaterialImpl.parse(message, JID, DEVICE)
        if exchange is not None and self.session is None:
            self.session, plain = await self.backend.build_session_passive(
                JID, DEVICE, exchange, sealed
            )
        else:
            plain = await self.backend.decrypt_key_material(self.session, sealed)
        return {"data": text(plain.key + plain.auth_tag)}


async def main():
    peer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "new":
                peer, answer = Peer(request["profile"]), {}
            else:
                answer = await getattr(peer, request["do"])(request)
        except Exception as error:  # the caller decides what a failure means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
