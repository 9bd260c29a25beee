import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { InvalidArgumentError, type Command } from 'commander';
import { FerryError } from '../../errors.js';
import { TempFolder } from '../../io/temp-folder.js';
import { openBlobFolder } from '../../image-layout/blob-folder.js';
import { createAccessControl } from '../../serve/access-control.js';
import { createAccessLog } from '../../serve/access-log.js';
import type { DeliveryMode } from '../../serve/archives/archive-desk.js';
import { ContentCache } from '../../serve/cache/content-cache.js';
import { createGateway } from '../../serve/gateway.js';
import { listen } from '../../serve/listen/listener.js';
import { createMetrics } from '../../serve/metrics.js';
import { openShardMaker } from '../../serve/shards/shard-maker.js';
import { cacheFolder } from '../cache-folder.js';
import type { CommandContext } from '../context.js';
import { parseSeconds } from '../duration.js';
import { addConnectionOptions, parseCount, parseTempLimit, type LocationFlags } from '../options.js';
import { printError, printLine, say, type OutputFlags } from '../output.js';
import { offerChannel, parseServedLocations } from '../served-channels.js';
import { Session } from '../session.js';
import { VERSION } from '../version.js';

const DEFAULT_CACHE_BYTES = '10GiB';
const DEFAULT_REFRESH = '30s';
const DEFAULT_GRACE = '30s';

interface ServeFlags extends LocationFlags, Pick<OutputFlags, 'quiet' | 'verbose'> {
  readonly schema: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly refresh: number;
  readonly redirect?: boolean;
  readonly proxy?: boolean;
  readonly cacheDir?: string;
  readonly cacheSize: number;
  readonly tempDir?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly userFile?: string;
  readonly tokenFile?: string;
  readonly accessLog?: string;
  readonly maxConnections?: number;
  readonly grace: number;
}
