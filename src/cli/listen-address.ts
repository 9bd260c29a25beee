import { InvalidArgumentError } from 'commander';

/** Where to listen; port 0 takes a free one. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Parses `HOST:PORT`, `[::1]:PORT`, `:PORT` or `PORT`. */
export function parseListen(text: string): ListenAddress {
  const groups = /^(?:(?:\[(?<six>[0-9a-f:.]+)\]|(?<host>[^:[\]]*)):)?(?<port>\d{1,5})$/i.exec(text)?.groups;
  const port = Number(groups?.['port'] ?? 65536);
  if (groups === undefined || port > 65535)
    throw new InvalidArgumentError('HOST:PORT is wanted, such as 127.0.0.1:8000 or [::1]:8000.');
  return { host: groups['six'] ?? (groups['host'] || '127.0.0.1'), port };
}
