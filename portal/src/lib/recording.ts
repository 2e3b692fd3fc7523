// A recording as it is played: what was shown, when, and what was done.
import { send, whole, type Frame } from './api';
import { Statements, type Statement } from './statements';

export interface Step {
  /** Seconds since the beginning, as it was. */
  at: number;
  /** Seconds since the beginning, with long silences made short. */
  short: number;
  /** Bytes for the screen. */
  bytes?: Uint8Array<ArrayBuffer>;
  size?: [number, number];
}

export interface Done {
  at: number;
  channel: number;
  what: string;
  detail: string;
}

export interface Recording {
  steps: Step[];
  /** What was run in a database. */
  statements: Statement[];
  /** What was done besides. */
  done: Done[];
  channels: number[];
  length: number;
  shortLength: number;
  damage: string[];
}

/** A silence is played for at most this long. */
const SILENCE = 1.5;

export function decoded(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const KINDS = ['kind', 'activity', 'type', 'what'];

/** A value in words; nothing of what is empty. */
function worded(value: unknown): string {
  if (value === null || value === undefined || value === '' || value === false || value === 0) return '';
  if (Array.isArray(value)) return value.map(worded).filter(Boolean).join(' ');
  if (typeof value !== 'object') return String(value);
  return Object.entries(value)
    .map(([key, one]) => [key, worded(one)] as const)
    .filter(([, one]) => one !== '')
    .map(([key, one]) => `${key.replaceAll('_', ' ')} ${one}`)
    .join(', ');
}

/** An activity, in words: its kind first, then whatever it says of itself. */
export function told(activity: unknown): { what: string; detail: string } {
  if (typeof activity !== 'object' || activity === null) return { what: 'activity', detail: String(activity) };
  const fields = Object.entries(activity as Record<string, unknown>);
  const kind = fields.find(([key]) => KINDS.includes(key));
  if (kind) return { what: String(kind[1]).replaceAll('_', ' '), detail: worded(Object.fromEntries(fields.filter((field) => field !== kind))) };
  const [only] = fields;
  if (fields.length === 1 && only) return { what: only[0].replaceAll('_', ' '), detail: worded(only[1]) };
  return { what: 'activity', detail: worded(activity) };
}

/** The lines of a body, one by one: a recording can be longer than the longest text there is. */
async function* lines(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const found = (rest + value).split('\n');
      rest = found.pop() ?? '';
      yield* found;
    }
    yield rest;
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** Reads a recording and lays it out for one channel. One that breaks off on its way is refused and not shown in part. */
export async function read(session: string, signal: AbortSignal): Promise<(channel: number | undefined) => Recording> {
  const response = await send(`/api/v1/sessions/${session}/recording?format=frames`, { headers: { accept: 'application/x-ndjson' }, signal });
  const frames: Frame[] = [];
  const damage: string[] = [];
  await whole(async () => {
    if (!response.body) return;
    for await (const line of lines(response.body)) {
      if (line === '') continue;
      const parsed = JSON.parse(line) as Frame | { damage: string };
      if ('damage' in parsed) damage.push(parsed.damage);
      else frames.push(parsed);
    }
  });
  const shown = (frame: Frame): boolean => frame.direction === 'output' && (frame.kind === 'bytes' || frame.kind === 'stderr') && !!frame.data;
  const channels = [...new Set(frames.filter((frame) => shown(frame) || frame.size).map((frame) => frame.channel))];
  const statements = new Statements();
  const besides = new Set(frames.filter((frame) => frame.activity && !statements.take(frame)));
  const last = frames.reduce((latest, frame) => Math.max(latest, frame.at_us / 1e6), 0);
  return (channel = channels[0]) => {
    const steps: Step[] = [];
    const done: Done[] = [];
    let before = 0;
    let short = 0;
    for (const frame of frames) {
      const at = frame.at_us / 1e6;
      short += Math.min(Math.max(0, at - before), SILENCE);
      before = at;
      if (frame.activity && besides.has(frame)) done.push({ at, channel: frame.channel, ...told(frame.activity) });
      if (frame.channel !== channel) continue;
      if (shown(frame) && frame.data) steps.push({ at, short, bytes: decoded(frame.data) });
      else if (frame.size) steps.push({ at, short, size: [Number(frame.size[0]), Number(frame.size[1])] });
    }
    return { steps, statements: statements.all, done, channels, length: last, shortLength: short, damage };
  };
}

/** What the screen was told, without the orders to the terminal, and when: for searching. */
export function searchable(recording: Recording): { text: string; at: (index: number) => number } {
  const decoder = new TextDecoder();
  const marks: [number, number][] = [];
  let text = '';
  for (const step of recording.steps) {
    if (!step.bytes) continue;
    marks.push([text.length, step.at]);
    text += decoder.decode(step.bytes, { stream: true });
  }
  // Orders are blanked and not removed, so that places in the text stay places in time.
  // eslint-disable-next-line no-control-regex
  const plain = text.replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g, (order) => '\u0000'.repeat(order.length));
  return {
    text: plain,
    at: (index) => {
      let found = 0;
      for (const [start, at] of marks) {
        if (start > index) break;
        found = at;
      }
      return found;
    },
  };
}
