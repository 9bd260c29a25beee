/**
 * A channel of the size and shape of conda-forge, and its repodata, the same on each run.
 *
 * Counted by others (conda-forge/by-the-numbers, 2026-08-22): 3,767,199 archives of 34,089 names, 26.4 TB, so 7.0 MB each;
 * 2,080 more a day, 11.4 MB each. Sizes of plain repodata (2026-09): noarch 188 MB, osx-arm64 198 MB, linux-ppc64le 163 MB,
 * win-32 10.5 MB, linux-s390x 2.5 MB.
 *
 * Assumed: how the other subdirs share the rest, and how many names each has; log-normal numbers of archives per name
 * and sizes, the median far below the mean, sizes much alike within a name; three archives in ten are old `.tar.bz2`,
 * one in a hundred of these has a twin.
 */
import { chanceOf } from './clock.mjs';

export const ARCHIVES = 4_000_000;
const NAMES = 34_089;
const MEAN_BYTES = 7.0e6;
/** Of the logarithms of sizes: of names, and within one name. */
const SIZE_SPREAD = { ofName: 2.2, within: 1.08 };
const MAX_ARCHIVE_BYTES = 4e9;
/** Of the logarithms of the number of archives per name. */
const COUNT_SPREAD = 1.6;
const TAR_BZ2_SHARE = 0.3;
/** Of the `.tar.bz2`. */
const TWIN_SHARE = 0.01;

/**
 * A subdir's share of all archives; its names, as places in the list of all: from, to, and which share of these.
 * @typedef {{ subdir: string, share: number, names: readonly [from: number, to: number, share: number] }} SubdirShape
 */

/** Pure Python and data come first in the list of names, compiled packages last; some are both. */
const NOARCH = /** @type {const} */ ([0, 0.65, 1]);
/** @param {number} share @returns {readonly [number, number, number]} */
const compiled = (share) => [0.58, 1, share];

/** @type {readonly SubdirShape[]} */
export const SUBDIRS = [
  { subdir: 'linux-64', share: 0.24, names: compiled(1) },
  { subdir: 'osx-64', share: 0.185, names: compiled(0.85) },
  { subdir: 'win-64', share: 0.15, names: compiled(0.7) },
  { subdir: 'noarch', share: 0.125, names: NOARCH },
  { subdir: 'linux-aarch64', share: 0.11, names: compiled(0.7) },
  { subdir: 'osx-arm64', share: 0.1, names: compiled(0.7) },
  { subdir: 'linux-ppc64le', share: 0.082, names: compiled(0.6) },
  { subdir: 'win-32', share: 0.006, names: compiled(0.05) },
  { subdir: 'linux-s390x', share: 0.002, names: compiled(0.02) },
];

/** A name in a subdir. @typedef {{ id: number, name: string, count: number, bytes: number }} NameShape */

/** Hash of two numbers, from 0 up to 1. @param {number} a @param {number} b */
function chance(a, b) {
  return chanceOf(Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b))();
}

/** A number of the standard normal distribution by its quantile. @param {number} quantile from 0 up to 1 */
function normal(quantile) {
  // Twice the tail is what differs least from the true one; good to a tenth of a percent (Tocher).
  const p = Math.min(1 - 1e-9, Math.max(1e-9, quantile));
  const odds = Math.log(p / (1 - p));
  let z = odds / 1.702;
  for (let i = 0; i < 2; i += 1) {
    const logit = 0.07056 * z ** 3 + 1.5976 * z;
    z -= (logit - odds) / (0.21168 * z ** 2 + 1.5976);
  }
  return z;
}

/**
 * The names of a subdir with their archives.
 * @param {SubdirShape} shape
 * @param {number} archives of the whole channel
 * @returns {readonly NameShape[]}
 */
export function namesOf({ subdir, share, names }, archives) {
  const total = Math.max(1, Math.round(archives * share));
  const all = Math.max(20, Math.round((NAMES * archives) / ARCHIVES));
  const [from, to, part] = names;
  const ids = [];
  for (let id = Math.floor(all * from); id < Math.ceil(all * to); id += 1)
    if (chance(id, 7) < part) ids.push(id);
  if (ids.length === 0) ids.push(all - 1);
  // In even steps, so that a small channel has the same spread as a large one; in an order that knows no size.
  const order = ids.toSorted((a, b) => chance(a, 1) - chance(b, 1));
  const weights = new Map(
    order.map((id, place) => [id, Math.exp(COUNT_SPREAD * normal((place + 0.5) / order.length))]),
  );
  const sum = [...weights.values()].reduce((all_, weight) => all_ + weight, 0);
  let left = total;
  const counted = order.toReversed().map((id) => {
    const wanted = Math.max(1, Math.round((total * (weights.get(id) ?? 0)) / sum));
    const count = Math.min(wanted, left);
    left -= count;
    return { id, count };
  });
  const [largest] = counted;
  if (largest !== undefined) largest.count += left;
  const kept = counted.filter(({ count }) => count > 0);
  const sized = kept.map(({ id, count }) => ({
    id,
    count,
    z: Math.exp(SIZE_SPREAD.ofName * normal(chance(id, 2))),
  }));
  const mean = sized.reduce((all_, { count, z }) => all_ + count * z, 0) / total;
  return sized
    .map(({ id, count, z }) => ({ id, name: nameOf(subdir, id), count, bytes: (MEAN_BYTES * z) / mean }))
    .toSorted((a, b) => a.id - b.id);
}

/** @param {string} _subdir @param {number} id */
function nameOf(_subdir, id) {
  const syllables = [
    'py',
    'lib',
    'data',
    'core',
    'test',
    'net',
    'plot',
    'sci',
    'web',
    'geo',
    'bio',
    'ml',
    'io',
    'cli',
  ];
  const pick = (/** @type {number} */ salt) =>
    syllables[Math.floor(chance(id, salt) * syllables.length)] ?? '';
  return `${pick(3)}${pick(4)}-${pick(5)}${String(id)}`;
}

const HEX = Array.from({ length: 65536 }, (_, value) => value.toString(16).padStart(4, '0'));
const PIECE_CHARACTERS = 1024 * 1024;
/** Lists of dependencies, of the length that makes a record some 640 bytes long. */
const DEPENDENCIES = Array.from({ length: 4096 }, (_, place) => {
  const count = 1 + Math.floor(chance(place, 11) ** 2 * 26);
  const specs = Array.from({ length: count }, (_item, at) => {
    const id = Math.floor(chance(place, 100 + at) ** 3 * 3000);
    return `${nameOf('', id)} >=${String(id % 40)}.${String(at)},<${String((id % 40) + 1)}.0a0`;
  });
  return JSON.stringify(specs);
});

/**
 * Repodata of a subdir, in pieces of about a megabyte.
 * @param {string} subdir
 * @param {readonly NameShape[]} names
 */
export function* repodataOf(subdir, names) {
  let piece = `{"info":{"subdir":"${subdir}"},"packages":{`;
  for (const extension of ['tar.bz2', 'conda']) {
    let isFirst = true;
    if (extension === 'conda') piece += '},"packages.conda":{';
    for (const { id, name, count, bytes } of names) {
      const twins = Math.round(count * TAR_BZ2_SHARE);
      for (let i = 0; i < count; i += 1) {
        const isOld = i < twins;
        const random = chanceOf(Math.imul(id, 0x9e3779b1) ^ Math.imul(i, 0xc2b2ae35) ^ (isOld ? 1 : 0));
        const hasTwin = isOld && random() < TWIN_SHARE;
        if (extension === 'tar.bz2' ? !isOld : isOld && !hasTwin) continue;
        piece += `${isFirst ? '' : ','}${recordOf({ name, subdir, i, bytes, extension }, random)}`;
        isFirst = false;
        if (piece.length < PIECE_CHARACTERS) continue;
        yield Buffer.from(piece, 'latin1');
        piece = '';
      }
    }
  }
  yield Buffer.from(`${piece}},"removed":[],"repodata_version":1}\n`, 'latin1');
}

/**
 * @param {{ name: string, subdir: string, i: number, bytes: number, extension: string }} of
 * @param {() => number} random
 */
function recordOf({ name, subdir, i, bytes, extension }, random) {
  const hex = (/** @type {number} */ quads) => {
    let text = '';
    for (let at = 0; at < quads; at += 1) text += HEX[Math.floor(random() * 65536)] ?? '';
    return text;
  };
  const version = `${String(i >> 6)}.${String((i >> 3) & 7)}.${String(i & 7)}`;
  const build = `py3${String(i % 14)}h${HEX[(i * 7919) & 65535] ?? ''}${HEX[(i * 104729) & 65535]?.slice(1) ?? ''}_${String(i % 3)}`;
  const spread = Math.exp(SIZE_SPREAD.within * normal(random()) - SIZE_SPREAD.within ** 2 / 2);
  const size = Math.round(Math.min(MAX_ARCHIVE_BYTES, Math.max(2000, bytes * spread)));
  const depends = DEPENDENCIES[Math.floor(random() * DEPENDENCIES.length)] ?? '[]';
  return (
    `"${name}-${version}-${build}.${extension}":{"build":"${build}","build_number":${String(i % 3)},` +
    `"depends":${depends},"license":"BSD-3-Clause","license_family":"BSD","md5":"${hex(8)}","name":"${name}",` +
    `"sha256":"${hex(16)}","size":${String(size)},"subdir":"${subdir}",` +
    `"timestamp":${String(1_500_000_000_000 + Math.floor(random() * 2.6e11))},"version":"${version}"}`
  );
}
