import type { ChannelSource } from '../../conda/channel-source.js';
import { GatewayChannel, type GatewayChannelOptions } from './gateway-channel.js';

/** Labels of one channel that are held at once; who asks for more makes up names. */
const MAX_LABELS = 32;

/** A channel as it was asked for. */
export interface OfferedChannel {
  /** First component of its URLs. */
  readonly name: string;
  /**
   * Opens it under a label, `undefined` being none.
   * @returns `undefined` where it cannot have that label
   */
  readonly open: (label: string | undefined) => ChannelSource | undefined;
}

/** The channels under one root, each with those of its labels that were asked for. */
export class ChannelSet {
  readonly #offered: ReadonlyMap<string, OfferedChannel>;
  readonly #options: Omit<GatewayChannelOptions, 'name' | 'label' | 'source'>;
  readonly #open = new Map<string, GatewayChannel>();

  constructor(
    offered: readonly OfferedChannel[],
    options: Omit<GatewayChannelOptions, 'name' | 'label' | 'source'>,
  ) {
    this.#offered = new Map(offered.map((channel) => [channel.name, channel]));
    this.#options = options;
  }

  /** The channels without a label, in the order they were given. */
  all(): readonly GatewayChannel[] {
    return [...this.#offered.keys()].flatMap((name) => this.get(name, undefined) ?? []);
  }

  /** All channels that are open, labels included. */
  opened(): Iterable<GatewayChannel> {
    return this.#open.values();
  }

  /** The channel of that name and label, if there can be one. */
  get(name: string, label: string | undefined): GatewayChannel | undefined {
    const key = label === undefined ? name : `${name}/label/${label}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const source = this.#offered.get(name)?.open(label);
    if (source === undefined) return undefined;
    if (label !== undefined) this.#makeRoom(name);
    const channel = new GatewayChannel({ ...this.#options, name, label, source });
    this.#open.set(key, channel);
    return channel;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((channel) => channel.close()));
  }

  /** Labels that nothing was ever read of go first, then the oldest ones. */
  #makeRoom(name: string): void {
    const labels = [...this.#open].filter(
      ([, channel]) => channel.name === name && channel.label !== undefined,
    );
    if (labels.length < MAX_LABELS) return;
    const [key, channel] = labels.find(([, { wasReadable }]) => !wasReadable) ?? labels[0] ?? [];
    if (key === undefined || channel === undefined) return;
    this.#open.delete(key);
    void channel.close();
  }
}
