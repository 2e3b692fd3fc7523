// Names of people by their ids, for whoever may see them.
import { call, Refusal, type User } from './api';

class People {
  #known: Map<string, User> = $state.raw(new Map());
  #asked = false;

  async load(): Promise<void> {
    if (this.#asked) return;
    this.#asked = true;
    try {
      const found = new Map<string, User>();
      let cursor: string | undefined;
      do {
        const part = await call('get', '/api/v1/users', { query: { limit: 500, cursor }, background: true });
        for (const user of part.items) found.set(user.id, user);
        cursor = part.next_cursor ?? undefined;
      } while (cursor && found.size < 5000);
      this.#known = found;
    } catch {
      this.#asked = false;
    }
  }

  nameOf(id: string): string {
    if (id === 'gate') return 'the gate';
    if (id === 'unknown') return 'somebody unknown';
    const user = this.#known.get(id);
    return user ? (user.display_name ?? user.username) : id;
  }

  /** The user name of an id, or the id. */
  usernameOf(id: string): string {
    return this.#known.get(id)?.username ?? id;
  }

  /** The id that a scope names somebody by; refused if nobody is called that. */
  named(text: string): string {
    const id = this.idOf(text.trim());
    if (/^(usr|wkl)_/.test(id)) return id;
    throw new Refusal(404, { title: 'Nobody is called that.', hint: 'Write the user name, as the People page has it.' });
  }

  /** The id for a user name; what is an id already, `gate` or `unknown` stays. */
  idOf(text: string): string {
    if (text === '') return '';
    for (const user of this.#known.values()) if (user.username === text || user.display_name === text) return user.id;
    return text;
  }
}

export const people = new People();
