// The gate's time, by the second: what is left of a grant is told by the clock that ends it.
let skew = 0;

class Clock {
  now: number = $state(Date.now());
  #timer: ReturnType<typeof setInterval> | undefined;

  start(): void {
    this.#timer ??= setInterval(() => (this.now = Date.now() + skew), 1000);
  }
}

export const clock = new Clock();

/** An answer said what time it is at the gate; it says so to the second only. */
export function setServerTime(at: number): void {
  const found = at - Date.now();
  skew = Math.abs(found) < 2000 ? 0 : found;
}
