/**
 * Matches patterns in time proportional to the text, whatever the pattern: all ways through the pattern are followed at
 * once (Thompson's construction), where JavaScript's own expressions try one after the other and can take for ever.
 */

/** A pattern, as {@link linearMatcher} takes it. */
export type Pattern =
  | { readonly kind: 'character'; readonly test: (character: string) => boolean }
  | { readonly kind: 'sequence'; readonly parts: readonly Pattern[] }
  | { readonly kind: 'choice'; readonly options: readonly Pattern[] }
  | {
      readonly kind: 'repeat';
      readonly part: Pattern;
      readonly min: number;
      /** `Infinity` for as often as one likes. */
      readonly max: number;
    }
  | { readonly kind: 'assertion'; readonly assertion: Assertion };

/** What holds between two characters. */
export type Assertion = 'start' | 'end' | 'word-boundary' | 'no-word-boundary';

/** Steps a pattern may have, repeats written out; each costs a few machine words and, per character, a few nanoseconds. */
export const MAX_STEPS = 5000;

type Step =
  | { readonly kind: 'character'; readonly test: (character: string) => boolean }
  | { readonly kind: 'fork'; next: readonly number[] }
  | { readonly kind: 'assertion'; readonly assertion: Assertion }
  | { readonly kind: 'match' };

const WORD = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u;

/** Tells whether a character is one of a word, as `\w` has it. */
export function isWordCharacter(character: string | undefined): boolean {
  return character !== undefined && WORD.test(character);
}

/**
 * Makes a function that tells whether the pattern is found anywhere in a text. Characters are code points.
 * @throws RangeError if the pattern has more than {@link MAX_STEPS}
 */
export function linearMatcher(pattern: Pattern): (text: string) => boolean {
  const program: Program = { steps: [], parts: 0 };
  compile(pattern, program);
  program.steps.push({ kind: 'match' });
  return (text) => search(program.steps, text);
}

interface Program {
  readonly steps: Step[];
  /** Parts compiled so far: a repeat of nothing at all makes no steps, and costs time nevertheless. */
  parts: number;
}

function compile(pattern: Pattern, program: Program): void {
  const { steps } = program;
  if (++program.parts > MAX_STEPS) throw new RangeError(`a pattern of more than ${String(MAX_STEPS)} steps`);
  switch (pattern.kind) {
    case 'character':
    case 'assertion':
      steps.push(pattern);
      return;
    case 'sequence':
      for (const part of pattern.parts) compile(part, program);
      return;
    case 'choice':
      compileChoice(pattern.options, program);
      return;
    case 'repeat':
      compileRepeat(pattern, program);
      return;
  }
}

function compileChoice(options: readonly Pattern[], program: Program): void {
  const { steps } = program;
  const fork = pushFork(steps);
  const starts: number[] = [];
  const exits: ReturnType<typeof pushFork>[] = [];
  for (const option of options) {
    starts.push(steps.length);
    compile(option, program);
    exits.push(pushFork(steps));
  }
  fork.next = starts;
  for (const exit of exits) exit.next = [steps.length];
}

function compileRepeat(
  { part, min, max }: { readonly part: Pattern; readonly min: number; readonly max: number },
  program: Program,
): void {
  const { steps } = program;
  for (let count = 0; count < min; count++) compile(part, program);
  if (max === Infinity) {
    const start = steps.length;
    const fork = pushFork(steps);
    compile(part, program);
    pushFork(steps).next = [start];
    fork.next = [start + 1, steps.length];
    return;
  }
  const forks: [ReturnType<typeof pushFork>, number][] = [];
  for (let count = min; count < max; count++) {
    forks.push([pushFork(steps), steps.length]);
    compile(part, program);
  }
  for (const [fork, inside] of forks) fork.next = [inside, steps.length];
}

function pushFork(steps: Step[]): { next: readonly number[] } {
  const fork: { readonly kind: 'fork'; next: readonly number[] } = { kind: 'fork', next: [] };
  steps.push(fork);
  return fork;
}

function search(steps: readonly Step[], text: string): boolean {
  const characters = Array.from(text);
  // The position at which a step was last reached, so that none is followed twice there.
  const reachedAt = new Int32Array(steps.length).fill(-1);
  let current: number[] = [];
  for (let position = 0; position <= characters.length; position++) {
    const [before, after] = [characters[position - 1], characters[position]];
    const pending = [0, ...current];
    const next: number[] = [];
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      if (reachedAt[index] === position) continue;
      reachedAt[index] = position;
      const step = steps[index];
      if (step === undefined) continue;
      if (step.kind === 'match') return true;
      if (step.kind === 'fork') pending.push(...step.next);
      else if (step.kind === 'assertion') {
        if (holds(step.assertion, before, after)) pending.push(index + 1);
      } else if (after !== undefined && step.test(after)) next.push(index + 1);
    }
    current = next;
  }
  return false;
}

function holds(assertion: Assertion, before: string | undefined, after: string | undefined): boolean {
  switch (assertion) {
    case 'start':
      return before === undefined;
    case 'end':
      return after === undefined;
    case 'word-boundary':
      return isWordCharacter(before) !== isWordCharacter(after);
    case 'no-word-boundary':
      return isWordCharacter(before) === isWordCharacter(after);
  }
}
