// Where one is: the path, what stands in its question, and how to go elsewhere without loading anew.
class Place {
  path: string = $state(location.pathname);
  query: URLSearchParams = $state(new URLSearchParams(location.search));
  /** Counts moves, so that a page can put the focus where reading begins. */
  moves: number = $state(0);

  constructor() {
    addEventListener('popstate', () => this.#read());
    // Links are plain links: opened in a tab, copied, or followed here.
    addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest?.('a');
      if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
      if (link.pathname.startsWith('/api/') || link.pathname === '/ca.pem') return;
      if (link.hash && link.pathname === location.pathname) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  #read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
    this.moves += 1;
  }

  go(to: string, replace = false): void {
    if (to === location.pathname + location.search) return;
    if (replace) history.replaceState(null, '', to);
    else history.pushState(null, '', to);
    this.#read();
    if (!replace) scrollTo(0, 0);
  }

  /** Changes the question only, and not the history of pages. */
  ask(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined || value === '') query.delete(key);
      else query.set(key, value);
    }
    const text = query.toString();
    history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''));
    this.query = query;
  }
}

export const place = new Place();
