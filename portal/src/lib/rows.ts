// Where the portal shows the rows that an answer of the API is about.

/** Lists of the API, and the page that shows the same. */
const PAGES: Record<string, string> = {
  '/users': '/people',
  '/requests': '/requests?of=all',
  '/sessions': '/sessions?state=ended',
  '/reviews': '/inbox',
  '/locks': '/locks',
  '/measures': '/measures',
  '/policy/history': '/policy',
  '/resources': '/resources',
  '/audit/checkpoint': '/audit?view=verify',
  '/streams': '/outbox',
};

/** The page that shows what this address of the API answers with; nothing if none does. */
export function rowsAt(path: string): string | undefined {
  const at = new URL(path, 'https://gate.invalid');
  const what = at.pathname.replace(/^\/api\/v1/, '');
  if (what !== '/audit/entries') return PAGES[what];
  const query = new URLSearchParams({ event: at.searchParams.get('event') ?? '' });
  for (const limit of ['since', 'until']) {
    const time = at.searchParams.get(limit);
    if (time) query.set(limit, time);
  }
  return `/audit?${query}`;
}
