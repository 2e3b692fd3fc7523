// What a containment did, in one sentence.
import type { Schemas } from './api';
import { plural } from './words';

export function contained(done: Schemas['Contained']): string {
  const cut = done.cut.confirmed.length + done.cut.unconfirmed.length;
  const seen = done.cut.unconfirmed.length > 0 ? `; of ${plural(done.cut.unconfirmed.length, 'session')} the end was not seen yet` : '';
  const added = done.passkeys.length > 0 ? ` ${plural(done.passkeys.length, 'passkey')} added within the last 30 days: ask which are theirs.` : '';
  return `Contained in ${done.seconds.toFixed(2)} s: ${plural(cut, 'session')} cut, ${plural(done.grants.length, 'grant')} revoked, ${plural(done.requests.length, 'request')} denied${seen}.${added}`;
}
