// Lists that are read a part at a time.

/** A part of a list. */
export interface Part<T> {
  items: T[];
  next_cursor?: string | null;
}

/** How many are read at first, and at most at once. */
const FIRST = 50;
const MOST = 500;

/**
 * Reads a list again as far as it is shown, and what is new besides: nothing goes away under whoever reads, or writes beside it, but
 * what is no longer there.
 */
export async function again<T extends { id: string }>(read: (cursor: string | undefined, limit: number) => Promise<Part<T>>, shown: Part<T> | undefined): Promise<Part<T>> {
  const known = new Set(shown?.items.map((item) => item.id));
  const last = shown?.items.at(-1)?.id;
  let part = await read(undefined, Math.min(MOST, Math.max(FIRST, known.size)));
  for (;;) {
    const missing = known.size + part.items.filter((item) => !known.has(item.id)).length - part.items.length;
    if (!part.next_cursor || missing <= 0 || part.items.some((item) => item.id === last)) return part;
    const more = await read(part.next_cursor, Math.min(MOST, missing));
    part = { ...more, items: [...part.items, ...more.items] };
  }
}

/** A list to its end, part by part, where all of it is wanted. */
export async function every<T>(read: (cursor: string | undefined) => Promise<Part<T>>): Promise<{ items: T[] }> {
  const all: T[] = [];
  let cursor: string | undefined;
  do {
    const part = await read(cursor);
    all.push(...part.items);
    cursor = part.next_cursor ?? undefined;
  } while (cursor);
  return { items: all };
}
