// How times, lengths and states are said.
import type { Who } from './api';

const DAY = 86_400;

/** A length in seconds, in at most two units: `4 min 10 s`. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  const minutes = Math.round(s / 60);
  if (s < DAY) return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(s / 3600);
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** The seconds in `1h30m`. */
export function seconds(text: string): number {
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)([smhd])/g)) {
    sum += Number(number) * ({ s: 1, m: 60, h: 3600, d: DAY }[unit as 's'] ?? 0);
  }
  return sum;
}

/** Whether a text is a length the gate understands. */
export function isSpan(text: string): boolean {
  return /^(\d+[smhd])+$/.test(text) && seconds(text) > 0;
}

/** A place in a recording: `03:07`, `1:02:03`. */
export function stamp(seconds: number): string {
  const s = Math.floor(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${two(Math.floor(s / 60))}:${two(s % 60)}`;
}

export function ago(at: string | number, now: number): string {
  const s = (now - new Date(at).getTime()) / 1000;
  if (s < 10) return 'just now';
  return `${span(s)} ago`;
}

export function until(at: string | number, now: number): string {
  return span((new Date(at).getTime() - now) / 1000);
}

/** A time as a field for days and times has it: in the clock of the reader. Nothing if it is none. */
export function local(time: string | null | undefined): string {
  const at = new Date(time ?? '');
  if (!time || Number.isNaN(at.getTime())) return '';
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The start of a day that somebody chose, as the API takes it: of the day where they are. */
export function dayStart(day: string): string {
  return new Date(`${day}T00:00`).toISOString();
}

/** A day from today, as a field for dates has it, where the reader is. */
export function dayFromNow(days: number): string {
  const at = new Date();
  at.setDate(at.getDate() + days);
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}-${String(at.getDate()).padStart(2, '0')}`;
}

/** The time to the minute, and the day if it is not today, where the reader is. */
export function about(at: string | number): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  if (new Date().toDateString() === date.toDateString()) return time;
  return `${time} on ${date.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })}`;
}

/** The day and time to the second, where the reader is. */
export function when(at: string | number): string {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  const time = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  if (today) return time;
  return `${date.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' })}, ${time}`;
}

export function name(who: Who | null | undefined): string {
  if (!who) return 'somebody';
  return who.display_name ?? who.username ?? who.id;
}

/** The same, with the user name where that is another: for what is done to somebody. */
export function whole(who: Who): string {
  const called = name(who);
  return who.username && who.username !== called ? `${called} (${who.username})` : called;
}

/** A code as words: `needs_approval` becomes `needs approval`. */
export function words(code: string): string {
  return code.replaceAll('_', ' ');
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** What somebody wrote, with what cannot be seen made visible: controls, and marks that turn the direction of text. */
export function inert(text: string): string {
  return text.replace(INVISIBLE, (c) => (c === '\r' ? '' : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`));
}

export type Tone = 'good' | 'warn' | 'bad' | 'accent' | '';

/** The colour of a state's badge. */
export function tone(state: string): Tone {
  switch (state) {
    case 'active':
    case 'live':
    case 'approved':
    case 'permit':
    case 'taken_in':
    case 'mended':
    case 'delivered':
      return 'good';
    case 'pending':
    case 'ready':
    case 'needs_approval':
    case 'step_up':
    case 'open':
    case 'waiting':
      return 'warn';
    case 'denied':
    case 'deny':
    case 'revoked':
    case 'withdrawn':
    case 'killed':
    case 'locked':
    case 'disabled':
    case 'set':
    case 'dead':
      return 'bad';
    default:
      return '';
  }
}

/** What a browser calls itself, as people call it. */
export function browser(agent: string | null | undefined): string {
  if (!agent) return 'An unnamed browser';
  const named = [
    ['Edge', /Edg\/(\d+)/],
    ['Opera', /OPR\/(\d+)/],
    ['Firefox', /Firefox\/(\d+)/],
    ['Chrome', /Chrome\/(\d+)/],
    ['Safari', /Version\/(\d+).*Safari/],
  ] as const;
  const system = [
    ['Android', /Android/],
    ['iPhone', /iPhone/],
    ['iPad', /iPad/],
    ['Windows', /Windows/],
    ['macOS', /Mac OS X/],
    ['Linux', /Linux/],
  ] as const;
  const found = named.map(([label, look]) => [label, look.exec(agent)?.[1]] as const).find(([, version]) => version);
  const on = system.find(([, look]) => look.test(agent))?.[0];
  if (!found) return inert(agent);
  return `${found[0]} ${found[1]}${on ? ` on ${on}` : ''}`;
}
