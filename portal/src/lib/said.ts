// What access takes, in words.
import type { Schemas, Terms } from './api';
import { plural } from './words';

type Stage = Schemas['Stage'];

/** What a review is about, before the name of who it is about. */
export const reviewed: Record<Schemas['ReviewKind'], string> = { break_glass: 'Emergency access of', sampled: 'A session of', standing: 'A right without an end of' };

export function seat(seat: string): string {
  return seat.startsWith('on-call:') ? `whoever is on call for ${seat.slice(8)}` : `somebody of ${seat}`;
}

function people(stage: Stage): string {
  const seats = stage.seats.map(seat).join(', or ');
  return stage.count === 1 ? seats : `${plural(stage.count, 'person', 'people')}: ${seats}`;
}

/** Each thing that access takes, a sentence each. */
export function takes(terms: Terms): string[] {
  const said: string[] = [];
  const stages = terms.approvals.flatMap((plan) => plan.stages);
  if (stages.length === 0) said.push('Nobody has to agree.');
  for (const stage of stages) {
    let text = `${people(stage)} must agree`;
    if (stage.timeout && stage.escalate_to) text += `; after ${stage.timeout} without an answer, ${seat(stage.escalate_to)} may too`;
    said.push(`${text[0]?.toUpperCase()}${text.slice(1)}.`);
  }
  said.push(`It lasts ${terms.default} unless you say otherwise, ${terms.max} at most.`);
  if (terms.reason) said.push('You have to say why.');
  if (terms.ticket !== 'none') said.push('You have to name a ticket.');
  if (terms.mfa === 'verified') said.push(`You have to prove that it is you with a key that checks PIN or fingerprint, at most ${terms.mfa_within} ago.`);
  if (terms.mfa === 'key_with_touch') said.push(`You have to touch your security key, at most ${terms.mfa_within} ago.`);
  if (terms.idle) said.push(`Sessions end after ${terms.idle} of silence.`);
  said.push(recorded(terms.record));
  return said;
}

export function recorded(level: string): string {
  switch (level) {
    case 'none':
      return 'Sessions are not recorded.';
    case 'events':
      return 'That you connect, and what you do there, is recorded; what you see is not.';
    case 'results':
      return 'Sessions are recorded, results included.';
    default:
      return 'Sessions are recorded: what is shown, and what is done.';
  }
}
