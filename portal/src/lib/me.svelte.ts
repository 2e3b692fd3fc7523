// Who sits here, and what everybody may know of the gate.
import { call, type GateFacts, type Me } from './api';

class Here {
  me: Me | undefined = $state.raw(undefined);
  facts: GateFacts | undefined = $state.raw(undefined);
  /** Whether it is known yet if somebody is signed in. */
  known: boolean = $state(false);

  async find(): Promise<void> {
    try {
      this.facts = await call('get', '/api/v1/gate');
      this.me = await call('get', '/api/v1/me');
    } finally {
      this.known = true;
    }
  }

  /** Whether policy lets them administer this noun. */
  administers(noun: string): boolean {
    return this.me?.administers.includes(noun) ?? false;
  }

  /** Whether they see everybody's: what the API decides anew each time. */
  get oversees(): boolean {
    return ['audit', 'request', 'session', 'grant', 'person'].some((noun) => this.administers(noun));
  }

  may(scope: string): boolean {
    return (this.me?.scopes as string[] | undefined)?.includes(scope) ?? false;
  }
}

export const here = new Here();
