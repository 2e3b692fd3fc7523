// A recording as it is played: what was shown, when, and what was done.
import { send, type Frame } from './api';

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

/** An activity, in words: whatever it says of itself, its kind first. */
export function told(activity: unknown): { what: string; detail: string } {
  if (typeof activity !== 'object' || activity === null) return { what: 'activity', detail: String(activity) };
  const fields = Object.entries(activity as Record<string, unknown>);
  const kind = fields.find(([key]) => ['kind', 'activity', 'type', 'what'].includes(key));
  const rest = fields.filter(([key, value]) => key !== kind?.[0] && value !== null && value !== undefined);
  const show = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  if (!kind && rest.length === 1 && rest[0] && typeof rest[0][1] === 'object' && rest[0][1] !== null) {
    const inner = Object.entries(rest[0][1] as Record<string, unknown>);
    return { what: rest[0][0], detail: inner.map(([key, value]) => `${key} ${show(value)}`).join(', ') };
  }
  return { what: kind ? String(kind[1]) : 'activity', detail: rest.map(([key, value]) => `${key} ${show(value)}`).join(', ') };
}

/** Reads a recording and lays it out for one channel. */
export async function read(session: string, signal: AbortSignal): Promise<(channel: number | undefined) => Recording> {
  const response = await send(`/api/v1/sessions/${session}/recording?format=frames`, { headers: { accept: 'application/x-ndjson' }, signal });
  const text = await response.text();
  const frames: Frame[] = [];
  const damage: string[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const parsed = JSON.parse(line) as Frame | { damage: string };
    if ('damage' in parsed) damage.push(parsed.damage);
    else frames.push(parsed);
  }
  const shown = (frame: Frame): boolean => frame.direction === 'output' && (frame.kind === 'bytes' || frame.kind === 'stderr') && !!frame.data;
  const channels = [...new Set(frames.filter((frame) => shown(frame) || frame.size).map((frame) => frame.channel))];
  const last = Math.max(0, ...frames.map((frame) => frame.at_us / 1e6));
  return (channel = channels[0]) => {
    const steps: Step[] = [];
    const done: Done[] = [];
    let before = 0;
    let short = 0;
    for (const frame of frames) {
      const at = frame.at_us / 1e6;
      short += Math.min(Math.max(0, at - before), SILENCE);
      before = at;
      if (frame.activity) done.push({ at, channel: frame.channel, ...told(frame.activity) });
      if (frame.channel !== channel) continue;
      if (shown(frame) && frame.data) steps.push({ at, short, bytes: decoded(frame.data) });
      else if (frame.size) steps.push({ at, short, size: [Number(frame.size[0]), Number(frame.size[1])] });
    }
    return { steps, done, channels, length: last, shortLength: short, damage };
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
