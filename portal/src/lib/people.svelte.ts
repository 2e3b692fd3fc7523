// People by their ids and user names, each asked of the gate when it is needed: however many there are. A name that people give
// themselves names nobody here: two may call themselves the same.
import { call, Refusal, type User } from './api';

const isId = (text: string): boolean => /^(usr|wkl)_/.test(text);

class People {
  #known: Map<string, User> = $state.raw(new Map());
  #asked = new Set<string>();

  /** How somebody is called who has this id, for whoever may see them; the id until that is known. */
  nameOf(id: string): string {
    if (id === 'gate') return 'the gate';
    if (id === 'unknown') return 'somebody unknown';
    const user = this.#known.get(id);
    if (!user) this.#ask(id);
    return user ? (user.display_name ?? user.username) : id;
  }

  /** Whoever is meant by a user name or an id; refused if nobody is called that. */
  async find(text: string): Promise<User> {
    const known = this.#known.get(text);
    if (known) return known;
    const user = isId(text) ? await call('get', '/api/v1/users/{id}', { path: { id: text } }) : await this.#called(text);
    this.#learn(user);
    return user;
  }

  /** The id for a user name, as it is typed; refused if nobody is called that. What is an id already, nothing, `gate` or `unknown` stays. */
  async idOf(text: string): Promise<string> {
    const typed = text.trim();
    return typed === '' || typed === 'gate' || typed === 'unknown' || isId(typed) ? typed : (await this.find(typed)).id;
  }

  async #called(username: string): Promise<User> {
    // What no user name looks like is none; without one the gate would list everybody.
    const found = /^[a-z0-9.-]{1,63}$/.test(username) ? await call('get', '/api/v1/users', { query: { username } }) : undefined;
    const user = found?.items.find((one) => one.username === username);
    if (!user) throw new Refusal(404, { title: 'Nobody is called that.', hint: 'Write the user name, as the People page has it.' });
    return user;
  }

  #ask(id: string): void {
    if (!isId(id) || this.#asked.has(id)) return;
    this.#asked.add(id);
    // Not while the page is being drawn that asks.
    queueMicrotask(() => {
      call('get', '/api/v1/users/{id}', { path: { id }, background: true }).then(
        (user) => this.#learn(user),
        (error: unknown) => {
          // Whom one may not see stays an id; what broke is asked again where it is drawn again.
          if (!(error instanceof Refusal) || error.status === 0 || error.status >= 500) this.#asked.delete(id);
        },
      );
    });
  }

  #learn(user: User): void {
    this.#known = new Map(this.#known).set(user.id, user);
  }
}

export const people = new People();
