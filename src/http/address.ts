/** Which addresses are of this machine or a private network, where a server on the internet has no business to send us. */
import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';

const PRIVATE_RANGES: readonly (readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'])[] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['::', 127, 'ipv6'],
  ['64:ff9b:1::', 48, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['fec0::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
];

const privateAddresses = new BlockList();
for (const [network, prefix, family] of PRIVATE_RANGES) {
  privateAddresses.addSubnet(network, prefix, family);
  if (family === 'ipv6') continue;
  // The same address, reached through NAT64, 6to4 and the old IPv4-compatible form.
  const [a = 0, b = 0] = network.split('.').map(Number);
  privateAddresses.addSubnet(`64:ff9b::${network}`, 96 + prefix, 'ipv6');
  privateAddresses.addSubnet(`2002:${(a * 256 + b).toString(16)}::`, 16 + prefix, 'ipv6');
  privateAddresses.addSubnet(`::${network}`, 96 + prefix, 'ipv6');
}

const loopbackAddresses = new BlockList();
loopbackAddresses.addSubnet('127.0.0.0', 8, 'ipv4');
loopbackAddresses.addAddress('::1', 'ipv6');

/** Code of the error that {@link lookupPublic} fails with, in the form of Node's own. */
export const PRIVATE_ADDRESS = 'EPRIVATEADDRESS';

/**
 * Tells whether an IP address is not one of the open internet: loopback, link-local, private, multicast. IPv4 inside
 * IPv6 (`::ffff:10.0.0.1`, NAT64, 6to4) counts as the IPv4 it is.
 * @see RFC 6890
 */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  return privateAddresses.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/**
 * What the host of a URL says by itself: `'private'` or `'public'` for an IP address and `localhost`, else `'name'`,
 * which only a look-up can tell.
 */
export function hostKind(url: URL): 'private' | 'public' | 'name' {
  const host = bareHost(url);
  if (isIP(host) !== 0) return isPrivateAddress(host) ? 'private' : 'public';
  return isLoopback(url) ? 'private' : 'name';
}

/**
 * Tells whether the host of a URL can only be this machine: `127.0.0.0/8`, `::1`, `localhost` and all names below it.
 * @see RFC 6761, section 6.3
 */
export function isLoopback(url: URL): boolean {
  const host = bareHost(url);
  const family = isIP(host);
  if (family !== 0) return loopbackAddresses.check(host, family === 4 ? 'ipv4' : 'ipv6');
  return host === 'localhost' || host.endsWith('.localhost');
}

function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$|\.$/g, '');
}

/**
 * Whether the host of a URL is in a private network; a name that cannot be looked up is not, nor is one that has a
 * public address too, since whoever owns a name may add a private one to it.
 */
export async function isPrivateHost(url: URL): Promise<boolean> {
  const kind = hostKind(url);
  if (kind !== 'name') return kind === 'private';
  try {
    const addresses = await lookup(url.hostname, { all: true });
    return addresses.length > 0 && addresses.every(({ address }) => isPrivateAddress(address));
  } catch {
    return false;
  }
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/**
 * Looks a name up for a connection as `dns.lookup` does, but gives public addresses only. Checked here, at the very
 * connection, since a name may resolve differently from one moment to the next.
 */
export function lookupPublic(hostname: string, options: LookupOptions, callback: LookupCallback): void {
  dnsLookup(hostname, { ...options, all: true }, (error, found) => {
    if (error !== null) {
      callback(error, []);
      return;
    }
    const addresses = found.filter(({ address }) => !isPrivateAddress(address));
    const [first] = addresses;
    if (first === undefined) {
      const refusal: NodeJS.ErrnoException = new Error(`\`${hostname}\` is in a private network`);
      refusal.code = PRIVATE_ADDRESS;
      callback(refusal, []);
    } else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
}
