// Who sits here, and what everybody may know of the gate.
import { call, Refusal, type GateFacts, type Me } from './api';
import { belong, leave } from './drafts';
import { forget } from './early';
import { kept } from './kept.svelte';
import { notes } from './notes.svelte';

class Here {
  me: Me | undefined = $state.raw(undefined);
  facts: GateFacts | undefined = $state.raw(undefined);
  /** The resources that they pinned. */
  pins: string[] = $state.raw([]);
  /** Whether it is known yet if somebody is signed in. */
  known: boolean = $state(false);

  async find(): Promise<void> {
    try {
      const [facts, me] = await Promise.allSettled([call('get', '/api/v1/gate'), call('get', '/api/v1/me')]);
      if (facts.status === 'rejected') throw facts.reason;
      this.facts = facts.value;
      if (me.status === 'rejected') throw me.reason;
      belong(me.value.user.id);
      this.me = me.value;
      this.pins = me.value.pins ?? [];
      kept.setHere(true);
    } catch (error) {
      forget();
      throw error;
    } finally {
      this.known = true;
    }
  }

  /** Nobody is signed in any more. */
  leave(): void {
    leave();
    this.me = undefined;
    forget();
    kept.setHere(false);
  }

  /** Lists a resource first, or no longer: shown at once, and taken back if the gate does not take it. */
  async pin(name: string): Promise<void> {
    const pinned = this.pins.includes(name);
    this.list(name, !pinned);
    try {
      const path = { name };
      await (pinned ? call('delete', '/api/v1/me/pins/{name}', { path }) : call('put', '/api/v1/me/pins/{name}', { path }));
    } catch (error) {
      this.list(name, pinned);
      if (error instanceof Refusal) notes.say(error.detail ?? error.message, true);
    }
  }

  private list(name: string, first: boolean): void {
    const others = this.pins.filter((pin) => pin !== name);
    this.pins = first ? [...others, name] : others;
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
