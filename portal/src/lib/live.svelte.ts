// What happens at the gate, as it happens: lists that are shown are read again when something concerns them.
import { Refusal, type AuditEntry } from './api';
import { events } from './stream';

type Listener = (entry: AuditEntry | undefined) => void;

class Live {
  /** Whether events arrive now. */
  connected: boolean = $state(false);
  #listeners = new Map<Listener, string[]>();
  #stop: AbortController | undefined;

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
    this.connected = false;
  }

  async #listen(signal: AbortSignal): Promise<void> {
    let wait = 500;
    for (let first = true; !signal.aborted; first = false) {
      try {
        const stream = events('/api/v1/events', signal);
        const next = stream.next();
        this.connected = true;
        // Whatever happened while nobody listened is in the state, not in the stream.
        if (!first) this.#tell(undefined);
        for (let heard = await next; !heard.done; heard = await stream.next()) {
          wait = 500;
          if (heard.value.event === 'lagged') this.#tell(undefined);
          else this.#tell(JSON.parse(heard.value.data) as AuditEntry);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refusal && error.status === 401) return this.stop();
      }
      this.connected = false;
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
