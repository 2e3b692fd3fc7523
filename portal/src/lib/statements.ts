// Statements of a database as people read them: what was run and what came of it, in one line.
import type { Frame } from './api';
import { bytes, plural } from './words';

/** What became of a statement; `open`: nothing was answered. */
export type Outcome = 'done' | 'failed' | 'refused' | 'open';

export interface Statement {
  /** Seconds since the session began. */
  at: number;
  text: string;
  /** The values that were bound, in words; empty if there are none. */
  values: string;
  outcome: Outcome;
  /** What came of it, in words. */
  said: string;
}

type Activity = Record<string, unknown>;

/** A text or value as it was recorded: what is no UTF-8 stands in hexadecimal, what is masked is left out. */
function spelled(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value !== 'object') return String(value);
  const { hex, hidden } = value as { hex?: unknown; hidden?: unknown };
  return hidden ? '‹hidden›' : hex === undefined ? JSON.stringify(value) : `0x${String(hex)}`;
}

/** What was run, as it says itself: a function may be called by its number alone, without a text. */
function named(statement: Activity): string {
  if ('text' in statement) return spelled(statement['text']);
  return 'function' in statement ? `function call ${spelled(statement['function'])}` : 'a text that stands further up in the recording';
}

function lasted(micros: number): string {
  if (micros < 1000) return `${micros} µs`;
  return micros < 1_000_000 ? `${Math.round(micros / 1000)} ms` : `${(micros / 1e6).toFixed(1)} s`;
}

/** An outcome in words: the server's own first. */
function ended(outcome: Activity): string {
  const number = (key: string): number | undefined => (typeof outcome[key] === 'number' ? (outcome[key] as number) : undefined);
  const [rows, affected, size, micros] = [number('rows'), number('affected'), number('bytes'), number('micros')];
  const said: string[] = [];
  if (outcome['sqlstate']) said.push(`failed with ${String(outcome['sqlstate'])}`);
  if (outcome['tag']) said.push(String(outcome['tag']));
  else if (rows !== undefined) said.push(plural(rows, 'row'));
  if (outcome['suspended']) said.push('more rows were not read');
  if (affected) said.push(`${affected} affected`);
  if (size) said.push(bytes(size));
  if (micros !== undefined) said.push(lasted(micros));
  return said.join(' · ');
}

/** So many numbers are known where the older ones are forgotten. */
const KNOWN = 1000;

/** Puts statements together from the frames of a recording, one after the other. */
export class Statements {
  readonly all: Statement[] = [];
  /** By their number: what an outcome belongs to, and what a later run of the same text points to. */
  #numbered = new Map<number, Statement>();

  /** Takes a frame; whether it was about a statement. */
  take(frame: Frame): boolean {
    const activity = frame.activity as Activity | null | undefined;
    const number = activity?.['n'];
    if (!activity || typeof number !== 'number') return false;
    const values = Array.isArray(activity['values']) ? activity['values'].map(spelled).join(', ') : '';
    const at = frame.at_us / 1e6;
    if (activity['kind'] === 'sql.statement') {
      const first = typeof activity['text_of'] === 'number' ? this.#numbered.get(activity['text_of']) : undefined;
      const text = first?.text ?? named(activity);
      this.#add(number, { at, text, values, outcome: 'open', said: 'no answer' });
    } else if (activity['kind'] === 'sql.refused') {
      const why = typeof activity['why'] === 'string' ? `: ${activity['why']}` : '';
      this.#add(number, { at, text: spelled(activity['text'] ?? ''), values, outcome: 'refused', said: `refused${why}` });
    } else if (activity['kind'] === 'sql.outcome') {
      const statement = this.#numbered.get(number);
      if (!statement) return true;
      // A statement with several results has an outcome for each.
      statement.said = [statement.outcome === 'open' ? '' : statement.said, ended(activity)].filter(Boolean).join('; ');
      statement.outcome = activity['sqlstate'] || statement.outcome === 'failed' ? 'failed' : 'done';
    } else return false;
    return true;
  }

  /** The newest so many, as they are now, the last one first; older ones are forgotten. */
  newest(most: number): Statement[] {
    this.all.splice(0, Math.max(0, this.all.length - most));
    for (const number of this.#numbered.keys()) {
      if (this.#numbered.size <= KNOWN) break;
      this.#numbered.delete(number);
    }
    return this.all.map((one) => ({ ...one })).reverse();
  }

  #add(number: number, statement: Statement): void {
    this.all.push(statement);
    this.#numbered.set(number, statement);
  }
}
