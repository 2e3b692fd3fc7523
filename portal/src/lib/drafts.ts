// What somebody writes and has not sent: if they are signed out meanwhile, it is there when they are back. Kept in this tab alone, and for
// them alone; signing in at a provider loads the page anew.
const KEY = 'tide.drafts';

interface Kept {
  whose: string;
  drafts: Record<string, unknown>;
}

let whose = '';
/** Nobody is signed in: what pages let go of now, nobody gave up. */
let away = true;

function read(): Kept {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Kept | null;
    if (kept?.whose === whose && whose !== '') return kept;
  } catch {
    // Without storage nothing is kept.
  }
  return { whose, drafts: {} };
}

function write(kept: Kept): void {
  try {
    if (Object.keys(kept.drafts).length === 0) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // The same.
  }
}

/** Who sits here now. INVARIANT: nothing that somebody else wrote is left from then on. */
export function belong(to: string): void {
  whose = to;
  away = to === '';
  write(read());
}

/** Nobody sits here any more: they may be back. */
export function leave(): void {
  away = true;
}

/** What was written here and not sent. */
export function draft<T>(at: string): T | undefined {
  return read().drafts[at] as T | undefined;
}

/** Keeps what is written; nothing: it was sent, or given up. */
export function keep(at: string, value: unknown): void {
  if (away) return;
  const kept = read();
  if (value === undefined && !(at in kept.drafts)) return;
  delete kept.drafts[at];
  write(value === undefined ? kept : { ...kept, drafts: { ...kept.drafts, [at]: value } });
}
