"""Runs one Libervia backend on the D-Bus session it was started in, and drives it over that bus.

A JSON object a line on stdin is a request (`id`, `do` and arguments); on stdout come its answer (`id`, and
`error` where it failed) and events (`event`). The backend ends when stdin ends.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAME = "org.libervia.Libervia"
PATH = "/org/libervia/Libervia/bridge"
PROFILE = "jet"
CODE = "/usr/share/libervia"
LIST_PLUGINS = "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"


def tell(**line):
    print(json.dumps(line), flush=True)


class Driver:
    def __init__(self, log):
        self.accepting = "ignore"
        self.folder = "."
        environment = dict(os.environ, PYTHONPATH=CODE)
        common = dict(cwd=CODE, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        # A backend that has to write Twisted's list of plugins anew dies of it: one of them installs a reactor.
        subprocess.run(["/usr/bin/python3", "-c", LIST_PLUGINS], **common)
        self.backend = subprocess.Popen(["/usr/bin/python3", f"{CODE}/launcher.py", "fg"], **common)
        threading.Thread(target=self.watch, daemon=True).start()
        self.bus = dbus.SessionBus()
        self.bus.watch_name_owner(NAME, self.owned)
        self.core = self.plugin = None

    def watch(self):
        tell(event="broken", why=f"the backend ended with {self.backend.wait()}")

    def owned(self, owner):
        if not owner or self.core is not None:
            return
        entity = self.bus.get_object(NAME, PATH, introspect=False)
        self.core = dbus.Interface(entity, NAME + ".core")
        self.plugin = dbus.Interface(entity, NAME + ".plugin")
        self.core.getReady(
            timeout=60, reply_handler=lambda: tell(event="ready"), error_handler=self.broken
        )
        self.core.connect_to_signal("actionNew", self.action)
        self.core.connect_to_signal("connected", lambda jid, _: tell(event="connected", jid=str(jid)))
        self.core.connect_to_signal("disconnected", lambda _: tell(event="disconnected"))
        self.core.connect_to_signal("progressStarted", self.progress("started"))
        self.core.connect_to_signal("progressFinished", self.progress("finished"))
        self.core.connect_to_signal("progressError", self.progress("error"))
        self.core.connect_to_signal("messageNew", self.message)

    def broken(self, error):
        tell(event="broken", why=str(error))

    def progress(self, state):
        def heard(transfer, detail, _):
            words = dict(detail) if isinstance(detail, dict) else str(detail)
            tell(event="progress", state=state, transfer=str(transfer), detail=words)

        return heard

    def message(self, *parts):
        # A person sees what is not empty: nothing of what opens a session may be that.
        tell(event="message", sender=str(parts[2]), body={str(k): str(v) for k, v in parts[4].items()}, type=str(parts[6]))

    def action(self, data, action, _, __):
        kind = str(data.get("meta_type", ""))
        answer = ElementTree.fromstring(str(data["xmlui"])).get("submit") if "xmlui" in data else None
        tell(event="action", kind=kind, answers=answer is not None, peer=str(data.get("meta_from_jid", "")))
        if answer is None or self.accepting == "ignore":
            return
        if self.accepting == "decline":
            reply = {"cancelled": "true"} if kind == "file" else {"answer": "false"}
        else:
            reply = {"path": self.folder} if kind == "file" else {"answer": "true"}
        self.core.launchAction(
            answer, dbus.Dictionary(reply, signature="ss"), PROFILE,
            timeout=60, reply_handler=lambda *_: None, error_handler=self.broken,
        )

    def request(self, line):
        words = json.loads(line)
        number, verb = words.pop("id"), words.pop("do")
        done = lambda result=None: tell(id=number, result=plain(result))
        failed = lambda error: tell(id=number, error=str(error))
        try:
            getattr(self, "do_" + verb)(done, failed, **words)
        except Exception as error:
            failed(error)

    def call(self, interface, method, arguments, done, failed):
        getattr(interface, method)(*arguments, timeout=120, reply_handler=done, error_handler=failed)

    def do_open(self, done, failed, jid, password, port):
        """Makes the profile where there is none, and goes online."""
        settings = [
            ("JabberID", jid, "Connection"),
            ("Password", password, "Connection"),
            ("Force server", "127.0.0.1", "Connection"),
            ("Force port", str(port), "Connection"),
            ("check_certificate", "false", "Connection"),
            ("allow_get_ip", "false", "General"),
        ]

        def configure(*_):
            for name, value, category in settings:
                self.core.setParam(name, value, category, -1, PROFILE)
            self.call(self.core, "connect", (PROFILE, "", dbus.Dictionary({}, signature="ss")), done, failed)

        def session(*_):
            self.call(self.core, "profileStartSession", ("", PROFILE), configure, failed)

        def made(error):
            # It is there already when the client was started again.
            session() if "onflict" in str(error) else failed(error)

        self.call(self.core, "profileCreate", (PROFILE, "", ""), session, made)

    def do_answer(self, done, failed, how, folder):
        self.accepting, self.folder = how, folder
        done()

    def do_encrypt(self, done, failed, jid):
        """Opens a session for what goes to an account, as a person does before the first encrypted file."""
        arguments = (jid, "eu.siacs.conversations.axolotl", False, PROFILE)
        self.call(self.core, "messageEncryptionStart", arguments, done, failed)

    def do_send(self, done, failed, path, to, encrypted=True):
        extra = json.dumps({"encrypted": True} if encrypted else {})
        self.call(self.plugin, "fileSend", (to, path, "", "", extra, PROFILE), done, failed)

    def end(self):
        self.backend.terminate()
        try:
            self.backend.wait(10)
        except subprocess.TimeoutExpired:
            self.backend.kill()


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return None if value is None else str(value)


def main():
    # The rest of the group is ended by this process.
    signal.signal(signal.SIGTERM, lambda *_: os.close(0))
    DBusGMainLoop(set_as_default=True)
    with open(sys.argv[1], "ab") as log:
        driver = Driver(log)
        loop = GLib.MainLoop()

        def listen():
            for line in sys.stdin:
                GLib.idle_add(driver.request, line)
            GLib.idle_add(loop.quit)

        threading.Thread(target=listen, daemon=True).start()
        loop.run()
        driver.end()


main()
