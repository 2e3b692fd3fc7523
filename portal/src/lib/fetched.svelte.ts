// Something read from the gate, and kept fresh while it is shown.
import { onMount } from 'svelte';
import { Refusal } from './api';
import { live } from './live.svelte';

/** How long it has to be quiet before reading again, and how long to wait for that at most. */
const GATHER = 120;
const LONGEST = 1000;
/** A read that takes longer than this is not waited for when there is something newer to read. */
const PATIENCE = 10_000;
/** How long to wait before asking a gate again that did not answer. */
const AGAIN = 4000;

export class Fetched<T> {
  value: T | undefined = $state.raw(undefined);
  error: Refusal | undefined = $state.raw(undefined);
  busy: boolean = $state(true);
  /** Whether there is something newer, and it is left as it is for whoever reads on in it. */
  behind: boolean = $state(false);
  #read: (background: boolean, signal: AbortSignal) => Promise<T>;
  #stop: AbortController | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;
  /** When it has to be read at the latest, if it is to be read again. */
  #due: number | undefined;
  /** Since when it is being read. */
  #since = 0;
  /** Whether more of it is shown than was read at first. */
  #further = false;

  constructor(read: (background: boolean, signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** Reads it. What is shown stays until something newer is there. */
  async load(background = false): Promise<void> {
    this.#stop?.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.#since = Date.now();
    this.busy = true;
    try {
      const value = await this.#read(background, stop.signal);
      if (stop.signal.aborted) return;
      this.value = value;
      this.error = undefined;
      this.#further = this.behind = false;
    } catch (error) {
      if (stop.signal.aborted) return;
      this.error = error instanceof Refusal ? error : new Refusal(0, { title: `This page has a fault: ${String(error)}` });
      if (this.error.status === 0) this.soon(AGAIN);
    } finally {
      if (this.#stop === stop) this.busy = false;
    }
  }

  /**
   * Shows more of it than was read at first. INVARIANT: from then on nothing takes that away but whoever reads it; unless it is
   * read in a way that keeps what is shown.
   */
  further(value: T, keeps = false): void {
    this.end();
    this.busy = false;
    this.value = value;
    this.#further = !keeps;
    if (keeps) this.soon();
  }

  /** Something happened that concerns it. */
  heard(): void {
    if (this.#further) this.behind = true;
    else this.soon();
  }

  /** Reads it again when it has been quiet for a moment. INVARIANT: what goes on happening puts that off for no longer than [`LONGEST`]. */
  soon(after = GATHER): void {
    clearTimeout(this.#soon);
    const now = Date.now();
    this.#due ??= now + Math.max(after, LONGEST);
    this.#soon = setTimeout(() => this.#again(), Math.max(0, Math.min(now + after, this.#due) - now));
  }

  #again(): void {
    // What is on its way is not thrown away for what happens meanwhile: a gate that is slow would never be read.
    this.#due = undefined;
    if (this.#further) this.behind = true;
    else if (this.busy && Date.now() - this.#since < PATIENCE) this.soon();
    else void this.load(true);
  }

  end(): void {
    clearTimeout(this.#soon);
    this.#due = undefined;
    this.#stop?.abort();
  }
}

/** Reads something now, and again whenever an event with one of these names happens: in the background then. */
export function fetched<T>(read: (background: boolean, signal: AbortSignal) => Promise<T>, ...on: string[]): Fetched<T> {
  const it = new Fetched(read);
  onMount(() => {
    void it.load();
    const off = on.length > 0 ? live.on(on, () => it.heard()) : () => {};
    return () => {
      off();
      it.end();
    };
  });
  return it;
}
