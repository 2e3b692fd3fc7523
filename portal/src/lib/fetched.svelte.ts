// Something read from the gate, and kept fresh while it is shown.
import { onMount } from 'svelte';
import { Refusal } from './api';
import { live } from './live.svelte';

/** How long to gather events before reading again. */
const GATHER = 120;
/** How long to wait before asking a gate again that did not answer. */
const AGAIN = 4000;

export class Fetched<T> {
  value: T | undefined = $state.raw(undefined);
  error: Refusal | undefined = $state.raw(undefined);
  busy: boolean = $state(true);
  #read: (background: boolean, signal: AbortSignal) => Promise<T>;
  #stop: AbortController | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;

  constructor(read: (background: boolean, signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** Reads it. What is shown stays until something newer is there. */
  async load(background = false): Promise<void> {
    this.#stop?.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.busy = true;
    try {
      const value = await this.#read(background, stop.signal);
      if (stop.signal.aborted) return;
      this.value = value;
      this.error = undefined;
    } catch (error) {
      if (stop.signal.aborted) return;
      this.error = error instanceof Refusal ? error : new Refusal(0, { title: `This page has a fault: ${String(error)}` });
      if (this.error.status === 0) this.soon(AGAIN);
    } finally {
      if (this.#stop === stop) this.busy = false;
    }
  }

  soon(after = GATHER): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => void this.load(true), after);
  }

  end(): void {
    clearTimeout(this.#soon);
    this.#stop?.abort();
  }
}

/** Reads something now, and again whenever an event with one of these names happens. */
export function fetched<T>(read: (background: boolean, signal: AbortSignal) => Promise<T>, ...on: string[]): Fetched<T> {
  const it = new Fetched(read);
  onMount(() => {
    void it.load();
    const off = on.length > 0 ? live.on(on, () => it.soon()) : () => {};
    return () => {
      off();
      it.end();
    };
  });
  return it;
}
