#!/usr/bin/env node
// What `npm run demo` and `npm test` need on a fresh machine: the packages of package-lock.json and the
// system's Prosody. Plain JavaScript without dependencies, for it runs before there are any.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const root = fileURLToPath(new URL('..', import.meta.url));
const [task, ...rest] = process.argv.slice(2);
const install = rest.includes('--install');
const args = rest.filter((arg) => arg !== '--install');

/** Debian packages by the task; `probe` succeeds when the package is there. */
const PACKAGES = [
  {
    name: 'openssl',
    probe: ['openssl', 'version'],
    for: ['demo', 'test', 'kill', 'acceptance', 'interop', 'bench'],
  },
  {
    name: 'prosody',
    probe: ['prosodyctl', '--help'],
    for: ['demo', 'test', 'kill', 'acceptance', 'interop', 'bench'],
  },
  {
    name: 'python3-cryptography',
    probe: ['/usr/bin/python3', '-c', 'import cryptography'],
    for: ['test'],
    optional: true,
  },
  {
    name: 'python3-oldmemo',
    probe: ['/usr/bin/python3', '-c', 'import oldmemo'],
    for: ['test'],
    optional: true,
  },
  {
    name: 'python3-twomemo',
    probe: ['/usr/bin/python3', '-c', 'import twomemo'],
    for: ['test'],
    optional: true,
  },
  // The clients of `npm run test:interop`, what their packages only recommend, and what drives them.
  ...[
    ...['dino-im', 'libervia-backend', 'python3-omemo', 'python3-oldmemo', 'python3-twomemo'],
    ...['python3-dbus', 'python3-gi', 'dbus-daemon', 'xvfb', 'lua-event'],
    ...['gcc', 'libc6-dev', 'pkg-config', 'libglib2.0-dev', 'libgee-0.8-dev'],
  ].map((name) => ({ name, probe: ['dpkg', '-s', name], for: ['interop'] })),
  // What `npm run bench` compares with, as far as it can be had.
  ...[
    ...['openssh-server', 'openssh-client', 'age', 'ncat', 'magic-wormhole'],
    ...['python3-magic-wormhole-mailbox-server', 'magic-wormhole-transit-relay'],
    ...['libervia-backend', 'python3-omemo', 'python3-oldmemo', 'python3-twomemo'],
    ...['python3-dbus', 'python3-gi', 'dbus-daemon'],
  ].map((name) => ({ name, probe: ['dpkg', '-s', name], for: ['bench'], optional: true })),
];

function run(command, commandArgs, options = {}) {
  const result = spawnSync(command, commandArgs, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) console.error(`Cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) process.exit(result.status ?? 1);
}

function modulesAreCurrent() {
  // A folder shared by several checkouts is looked after elsewhere.
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink())
    return true;
  const stamp = join(root, 'node_modules/.package-lock.json');
  return (
    existsSync(stamp) &&
    statSync(stamp).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  );
}

function installPackages() {
  const missing = PACKAGES.filter(
    (p) =>
      p.for.includes(task) &&
      spawnSync(p.probe[0], p.probe.slice(1), { stdio: 'ignore' }).status !== 0,
  );
  if (missing.length === 0) return;
  const names = missing.map((p) => p.name);
  const isRoot = process.getuid?.() === 0;
  const hasSystemd = existsSync('/run/systemd/system');
  if ((isRoot && !hasSystemd) || install) {
    const asRoot = isRoot ? [] : ['sudo'];
    const sh = (line) => run('/usr/bin/env', [...asRoot, 'sh', '-c', line]);
    // A masked unit cannot be started by the package: no public server comes up by accident.
    if (hasSystemd && names.includes('prosody')) sh('systemctl mask prosody.service');
    sh(
      `export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends ${names.join(' ')} >/dev/null`,
    );
    return;
  }
  const needed = missing.filter((p) => !p.optional);
  if (needed.length === 0) return;
  console.error(
    `This needs ${needed.map((p) => p.name).join(' and ')}. Install with (the mask keeps a public server from starting):\n\n` +
      `    sudo systemctl mask prosody.service; sudo apt-get install -y ${names.join(' ')}\n\n` +
      `or let it be done: npm run ${['interop', 'kill'].includes(task) ? `test:${task}` : task} -- --install`,
  );
  process.exit(1);
}

if (!modulesAreCurrent()) run('npm', ['ci', '--no-audit', '--no-fund']);
installPackages();
run(process.execPath, ['--import', 'tsx', `scripts/${task}.ts`, ...args]);
