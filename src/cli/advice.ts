import type { Advice, Refusal } from '../http/advice.js';
import type { ChannelCredential } from '../http/credentials/channel-credential.js';
import type { FoundCredential } from '../http/credentials/credential-chain.js';
import type { Credential } from '../http/credentials/credential.js';
import type { Access } from '../http/send.js';

/** Where the credentials of an ordinary channel belong. */
export const CHANNEL_CREDENTIALS_HINT =
  "write user:password@ or /t/TOKEN/ into the channel's URL, or put them into rattler's credentials.json or netrc";

/** What is known of a request that was refused. */
export interface RefusedRequest {
  readonly host: string;
  readonly refusal: Refusal;
  readonly access: Access | undefined;
  /** The credentials that it went with. */
  readonly found: FoundCredential | undefined;
  /** Where credentials were looked for. */
  readonly lookedIn: readonly string[];
}

/** What to say of a registry that refuses. */
export function adviseOnRegistry({ host, refusal, access, found, lookedIn }: RefusedRequest): Advice {
  if (found === undefined)
    return { reason: notFound(host, lookedIn), hint: `log in with conda-ferry login ${host}` };
  const who = `${describe(found.credential)} from ${found.from}`;
  if (refusal === 'unproven') {
    return {
      reason: `\`${host}\` does not take ${who}`,
      hint: isVariableOrFlag(found.from)
        ? `check ${found.from}`
        : `log in again with conda-ferry login ${host}`,
    };
  }
  const what = access === undefined ? 'do that' : `${verbOf(access)} \`${access.repository}\``;
  return {
    reason: `\`${host}\` does not let ${ownerOf(found.credential)} (credentials from ${found.from}) ${what}`,
    hint: rightsHint(host, found.from, access),
  };
}

/** What to say of an ordinary channel that refuses. */
export function adviseOnChannel(
  host: string,
  found: { readonly credential: ChannelCredential; readonly from: string } | undefined,
  lookedIn: readonly string[],
): Advice {
  const reason =
    found === undefined
      ? notFound(host, lookedIn)
      : `\`${host}\` refuses ${describe(found.credential)} from ${found.from}`;
  return { reason, hint: CHANNEL_CREDENTIALS_HINT };
}

/** What to say where a login is refused. */
export function adviseOnLogin(host: string, credential: Credential): Advice {
  return {
    reason: `\`${host}\` does not take ${describe(credential)}; nothing was kept`,
    hint:
      credential.kind === 'basic'
        ? 'check both; many registries want an access token instead of the password'
        : 'check that the token is for this registry and has not expired',
  };
}

function notFound(host: string, lookedIn: readonly string[]): string {
  return `no credentials for \`${host}\` were found (looked in ${lookedIn.join(', ')})`;
}

function describe(credential: ChannelCredential): string {
  switch (credential.kind) {
    case 'basic':
      return `the password of \`${credential.username}\``;
    case 'refresh':
      return 'the identity token';
    case 'bearer':
    case 'conda-token':
      return 'the token';
  }
}

function isVariableOrFlag(from: string): boolean {
  return !from.includes('/') && !from.includes('\\');
}

function ownerOf(credential: Credential): string {
  return credential.kind === 'basic' ? `\`${credential.username}\`` : "the token's owner";
}

function verbOf({ actions }: Access): string {
  if (actions.includes('delete')) return 'delete from';
  return actions.includes('push') ? 'push to' : 'pull from';
}

function rightsHint(host: string, from: string, access: Access | undefined): string {
  const isRead = access?.actions.every((action) => action === 'pull') ?? false;
  if (from === 'GITHUB_TOKEN') {
    return `give the job \`permissions: packages: ${isRead ? 'read' : 'write'}\`, and the package this repository's access`;
  }
  if (host === 'ghcr.io') {
    return `the token needs the scope ${isRead ? 'read:packages' : 'write:packages'}, and its owner access to the package`;
  }
  return 'have that right given to them, or log in as somebody who has it';
}
