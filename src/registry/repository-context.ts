import type { Access, Send } from '../http/send.js';
import type { ClockOptions } from '../http/clock.js';
import type { HostProfile } from './host-profile.js';

/** What requests to one repository need; made by `RepositoryClient`. */
export interface RepositoryContext {
  /** Such as `org/noarch/zlib`. */
  readonly name: string;
  /** `…/v2/<name>/`, whose parts were checked. */
  readonly base: URL;
  readonly send: Send;
  readonly clock: ClockOptions;
  readonly profile: HostProfile;
}

/** The rights that reading, writing or deleting in a repository takes; every request to one says so. @see distribution token scope */
export function accessTo(repository: string, purpose: 'read' | 'write' | 'delete'): Access {
  const actions = { read: ['pull'], write: ['pull', 'push'], delete: ['delete'] } as const;
  return { repository, actions: actions[purpose] };
}
