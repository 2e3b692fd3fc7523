// What happens at the gate, as it happens: lists that are shown are read again when something concerns them.
import { onAnswer, Refusal, type AuditEntry } from './api';
import { events } from './stream';

type Listener = (entry: AuditEntry | undefined) => void;

/** An entry that no answer is as of. */
const NONE = '';
/** How long a first answer may take before it is said that there is none. */
const GRACE = 3_000;

class Live {
  /** Whether events arrive now. */
  connected: boolean = $state(false);
  /** Whether they did not when they should have: worth a word. */
  lost: boolean = $state(false);
  /** What the gate says to that, if it is for somebody here to mend: that too many pages listen. */
  why: string = $state('');
  #listeners = new Map<Listener, string[]>();
  #stop: AbortController | undefined;
  /** As of which entries answers were while nobody listened. */
  #answered = new Set<string>();
  /** Since when somebody listens, and after which entry. */
  #opened: { at: number; asOf: string | null } | undefined;

  constructor() {
    onAnswer((asOf, asked) => {
      if (!this.#opened) this.#answered.add(asOf);
      // Slower than the line, and older than what is heard on it.
      else if (asked < this.#opened.at && asOf !== this.#opened.asOf) this.#tell(undefined);
    });
  }

  /** Calls back for events whose name begins with one of these, and with nothing when some may have been missed. */
  on(prefixes: string[], listener: Listener): () => void {
    this.#listeners.set(listener, prefixes);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    if (this.#stop) return;
    this.#stop = new AbortController();
    void this.#listen(this.#stop.signal);
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
    this.#opened = undefined;
    this.#answered.clear();
    this.connected = this.lost = false;
  }

  async #listen(signal: AbortSignal): Promise<void> {
    let wait = 500;
    const late = setTimeout(() => (this.lost = !signal.aborted && !this.connected), GRACE);
    const opened = (asOf: string | null): void => {
      clearTimeout(late);
      this.connected = true;
      this.lost = false;
      this.why = '';
      this.#opened = { at: performance.now(), asOf };
      // INVARIANT: what was entered before somebody listened is in the answers that there are already, or they are read again.
      const missed = [...this.#answered].some((one) => one !== asOf);
      this.#answered.clear();
      if (missed) this.#tell(undefined);
    };
    while (!signal.aborted) {
      try {
        for await (const heard of events('/api/v1/events', signal, { opened })) {
          wait = 500;
          if (heard.event === 'lagged') this.#tell(undefined);
          else this.#tell(JSON.parse(heard.data) as AuditEntry);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refusal && error.status === 401) return this.stop();
        this.why = error instanceof Refusal && error.status === 429 ? (error.detail ?? error.message) : '';
      }
      if (signal.aborted) return;
      this.connected = false;
      if (this.#opened) this.#answered.add(NONE);
      this.#opened = undefined;
      this.lost = true;
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, 10_000);
    }
  }

  #tell(entry: AuditEntry | undefined): void {
    const name = entry ? String((entry.data as { event?: unknown }).event ?? '') : undefined;
    for (const [listener, prefixes] of this.#listeners) {
      if (name === undefined || prefixes.some((prefix) => name.startsWith(prefix))) listener(entry);
    }
  }
}

export const live = new Live();
