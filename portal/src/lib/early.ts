// Answers that were asked for before this program was there, by `public/first.js`, which stands in the page: each is taken once.
declare global {
  interface Window {
    tideAsked?: Record<string, Promise<Response>>;
  }
}

/** So long after the page was opened, in milliseconds, an answer is no longer what is so now. */
const FRESH = 10_000;

window.tideAsked ??= {};

/** The answer to this, if it was asked for already. */
export function early(url: string): Promise<Response> | undefined {
  const asked = window.tideAsked?.[url];
  if (!asked) return undefined;
  delete window.tideAsked?.[url];
  return performance.now() < FRESH ? asked : undefined;
}

/** Somebody else may sit here from now on: what was answered before is for nobody. */
export function forget(): void {
  delete window.tideAsked;
}
