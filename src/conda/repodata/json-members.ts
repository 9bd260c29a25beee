import { concatBytes } from '../../io/bytes.js';
import { CLOSE_BRACE, COMMA } from './json-bytes.js';
import { JsonSkipper } from './json-skipper.js';
import { decodeJson } from './document-scanner.js';
import { skipSpace } from './record-scanner.js';

/** A member of an object: places in the object's bytes. */
export interface JsonMember {
  readonly key: string;
  /** The key's opening quote. */
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/** What becomes of a member: other bytes in its place, or none, or itself. */
export type MemberEdit = (member: JsonMember) => Uint8Array | 'dropped' | 'kept';

/** The members of an object that was checked before, in their order, equal keys included. */
export function* membersOf(object: Uint8Array): Generator<JsonMember> {
  const skipper = new JsonSkipper();
  const place = { bytes: object, base: 0, end: object.length };
  const skip = (from: number): number => {
    skipper.start();
    return skipper.run(place, from);
  };
  let at = skipSpace(object, 1);
  while (object[at] !== CLOSE_BRACE) {
    const start = at;
    const keyEnd = skip(start);
    const valueStart = skipSpace(object, skipSpace(object, keyEnd) + 1);
    const end = skip(valueStart);
    yield { key: decodeJson(object, start, keyEnd) as string, start, valueStart, end };
    at = skipSpace(object, end);
    if (object[at] === COMMA) at = skipSpace(object, at + 1);
  }
}

/** An object written anew, what is kept as it stands, number spellings included; `undefined` if all is kept. */
export function editObject(object: Uint8Array, edit: MemberEdit): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let isEdited = false;
  for (const member of membersOf(object)) {
    const outcome = edit(member);
    if (outcome !== 'kept') isEdited = true;
    if (outcome === 'dropped') continue;
    parts.push(Buffer.from(parts.length === 0 ? '{' : ','));
    parts.push(outcome === 'kept' ? object.subarray(member.start, member.end) : outcome);
  }
  if (!isEdited) return undefined;
  return concatBytes([...parts, Buffer.from(parts.length === 0 ? '{}' : '}')]);
}
