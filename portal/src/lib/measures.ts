// How the measures are said, and whether they got better.
import type { Schemas } from './api';
import { plural, span } from './words';

export type Period = Schemas['Period'];

/** A length in milliseconds. */
export function took(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${Math.floor(ms / 100) / 10} s`;
  return span(ms / 1000);
}

/** A share of one. All is said only of all: 99.96 % is not 100 %. */
export function percent(share: number): string {
  const tenths = Math.floor(share * 1000) / 10;
  return `${Number.isInteger(tenths) ? tenths : tenths.toFixed(1)} %`;
}

/** A day, where the year goes without saying unless it is another one. */
export function day(date: string): string {
  const at = new Date(`${date}T00:00:00Z`);
  const year = at.getUTCFullYear() === new Date().getUTCFullYear() ? undefined : ('numeric' as const);
  return at.toLocaleDateString(undefined, { day: 'numeric', month: 'short', year, timeZone: 'UTC' });
}

export interface Measure {
  id: string;
  title: string;
  /** What is counted, in a sentence. */
  about: string;
  /** The number of a period; null: there was nothing to count. */
  of: (period: Period) => number | null;
  say: (value: number) => string;
  /** Out of how many. */
  base: (period: Period) => string;
  /** What is better: less or more. */
  better: 'less' | 'more';
  /** The top of the picture, if it is always the same. */
  top?: number;
  /** The entries behind it. */
  events: string[];
}

const done = (what: Schemas['Done'], one: string): string =>
  what.ordered === what.done ? plural(what.done, one) : `${what.done} of ${plural(what.ordered, one)} seen to be over`;

export const measures: Measure[] = [
  {
    id: 'request',
    title: 'Request to session',
    about: 'Median time from a request that people agreed to, to the first session on it.',
    of: (period) => period.request_to_session.median_ms ?? null,
    say: took,
    base: (period) => `${plural(period.request_to_session.count, 'request')}; ${period.at_once} more opened at once`,
    better: 'less',
    events: ['request.submitted', 'session.opened'],
  },
  {
    id: 'bound',
    title: 'Time-bound production access',
    about: 'Of the sessions on production, those whose right has an end.',
    of: (period) => period.time_bound.share ?? null,
    say: percent,
    base: (period) => `${period.time_bound.part} of ${plural(period.time_bound.of, 'session')}`,
    better: 'more',
    top: 1,
    events: ['grant.created', 'session.opened'],
  },
  {
    id: 'standing',
    title: 'Standing privileged roles',
    about: 'Rights on production without an end that are active when the time is over.',
    of: (period) => period.standing_privileged_roles,
    say: String,
    base: () => 'at the end',
    better: 'less',
    events: ['grant.activated', 'grant.revoked'],
  },
  {
    id: 'complete',
    title: 'Complete audit metadata',
    about: 'Of the sessions that ended, those of which who, why, by which right, from where and a closed recording stand in the log.',
    of: (period) => period.complete_audit.share ?? null,
    say: percent,
    base: (period) => `${period.complete_audit.part} of ${plural(period.complete_audit.of, 'session')}`,
    better: 'more',
    top: 1,
    events: ['session.ended'],
  },
  {
    id: 'contain',
    title: 'Time to contain',
    about: 'Median time from a lock, a disabled account or a killed session to the last confirmed close.',
    of: (period) => period.containment.median_ms ?? null,
    say: took,
    base: (period) => done(period.containment, 'order'),
    better: 'less',
    events: ['lock.set', 'person.disabled', 'session.killed'],
  },
  {
    id: 'byte',
    title: 'Revocation to last byte',
    about: 'Median time from what took a session’s right away to the close its target confirmed.',
    of: (period) => period.revocation_to_last_byte.median_ms ?? null,
    say: took,
    base: (period) => done(period.revocation_to_last_byte, 'session'),
    better: 'less',
    events: ['grant.revoked', 'session.ended'],
  },
  {
    id: 'lateral',
    title: 'Lateral steps',
    about: 'Sessions opened from the machine of another session.',
    of: (period) => period.lateral_steps,
    say: String,
    base: () => 'all of them',
    better: 'less',
    events: ['session.stepped'],
  },
];

/** The newest value, the one before it, and whether that is better. */
export function change(measure: Measure, periods: Period[]): { now: number; before: number; better: boolean | undefined } | undefined {
  const values = periods.map(measure.of).filter((value): value is number => value !== null);
  const [now, before] = [values.at(-1), values.at(-2)];
  if (now === undefined || before === undefined) return undefined;
  return { now, before, better: now === before ? undefined : (now < before) === (measure.better === 'less') };
}
