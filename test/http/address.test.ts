import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import type { LookupAddress } from 'node:dns';
import { expect, test } from 'vitest';
import { hostKind, isLoopback, isPrivateAddress, isPrivateHost, lookupPublic } from '#ferry/http/address.js';

test.each([
  '0.0.0.0',
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'febf::1',
  'fec0::1',
  'ff02::1',
  '64:ff9b:1::1',
  '::ffff:127.0.0.1',
  '::ffff:a9fe:a9fe',
  '::10.0.0.1',
  '64:ff9b::169.254.169.254',
  '64:ff9b::a00:1',
  '2002:a00:1::1',
  '2002:a9fe:a9fe::',
  '2002:c0a8:101::1',
])('%s is private', (address) => {
  expect(isPrivateAddress(address)).toBe(true);
});

test.each([
  '1.1.1.1',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.0.1',
  '100.128.0.1',
  '126.0.0.1',
  '128.0.0.1',
  '169.253.0.1',
  '172.15.0.1',
  '172.32.0.1',
  '192.0.1.1',
  '192.167.0.1',
  '192.169.0.1',
  '198.17.0.1',
  '198.20.0.1',
  '223.255.255.255',
  '2606:4700::1111',
  '::ffff:1.1.1.1',
  '64:ff9b::1.1.1.1',
  '2002:101:101::1',
  'fbff::1',
])('%s is public', (address) => {
  expect(isPrivateAddress(address)).toBe(false);
});

test.each(['', 'localhost', '10.0.0', '10.0.0.1.example', '[::1]'])('%j is no address', (text) => {
  expect(isPrivateAddress(text)).toBe(false);
});

test.each([
  ['http://127.0.0.1:5000/', 'private'],
  ['http://[::1]/', 'private'],
  ['http://[::ffff:10.0.0.1]/', 'private'],
  ['http://2130706433/', 'private'],
  ['http://0x7f.1/', 'private'],
  ['http://0251.0376.169.254/', 'private'],
  ['http://127.1/', 'private'],
  ['http://localhost/', 'private'],
  ['http://LOCALHOST./', 'private'],
  ['http://a.localhost/', 'private'],
  ['http://1.1.1.1/', 'public'],
  ['http://[2606:4700::1111]/', 'public'],
  ['http://localhost.example/', 'name'],
  ['http://notlocalhost/', 'name'],
  ['http://10.0.0.1.nip.example/', 'name'],
])('the host of %s is %s', (url, kind) => {
  expect(hostKind(new URL(url))).toBe(kind);
});

test.each([
  'http://127.0.0.1:5000/',
  'http://127.255.255.254/',
  'http://127.1/',
  'http://[::1]:5000/',
  'http://[::ffff:127.0.0.1]/',
  'http://LOCALHOST.:5000/',
  'http://a.localhost/',
])('%s can only be this machine', (url) => {
  expect(isLoopback(new URL(url))).toBe(true);
});

test.each([
  'http://localhost.example.com/',
  'http://notlocalhost/',
  'http://127.0.0.1.example.com/',
  'http://10.0.0.1/',
  'http://128.0.0.1/',
  'http://[::2]/',
  'http://0.0.0.0/',
  'http://ghcr.io/',
])('%s may be another machine', (url) => {
  expect(isLoopback(new URL(url))).toBe(false);
});

test('a host is private by its address, and a name that cannot be looked up is not', async () => {
  expect(await isPrivateHost(new URL('http://10.0.0.1/'))).toBe(true);
  expect(await isPrivateHost(new URL('http://localhost/'))).toBe(true);
  expect(await isPrivateHost(new URL('http://1.1.1.1/'))).toBe(false);
  // Too long a label for any name server to be asked.
  expect(await isPrivateHost(new URL(`http://${'a'.repeat(64)}.invalid/`))).toBe(false);
});

const own = await lookup(hostname()).catch(() => undefined);

test.skipIf(own === undefined || !isPrivateAddress(own.address))(
  'a name is as private as all its addresses',
  async () => {
    expect(await isPrivateHost(new URL(`http://${hostname()}/`))).toBe(true);
  },
);

async function lookUp(host: string, all: boolean): Promise<string | LookupAddress[]> {
  return new Promise((resolve, reject) => {
    lookupPublic(host, { all }, (error, address) => {
      if (error === null) resolve(address);
      else reject(error);
    });
  });
}

test('GHSA-xf85-363p-868w: a connection that others chose gets public addresses only, however the name resolves', async () => {
  expect(await lookUp('1.1.1.1', false)).toBe('1.1.1.1');
  expect(await lookUp('1.1.1.1', true)).toEqual([{ address: '1.1.1.1', family: 4 }]);
  for (const all of [true, false]) {
    await expect(lookUp('localhost', all)).rejects.toMatchObject({ code: 'EPRIVATEADDRESS' });
    await expect(lookUp('169.254.169.254', all)).rejects.toMatchObject({ code: 'EPRIVATEADDRESS' });
    await expect(lookUp(`${'a'.repeat(64)}.invalid`, all)).rejects.toMatchObject({ code: 'ENOTFOUND' });
  }
});
