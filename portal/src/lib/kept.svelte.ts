// What this browser remembers of how somebody likes the portal. Nothing secret.
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | undefined): void {
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
}

export type Theme = 'system' | 'light' | 'dark';

class Kept {
  theme: Theme = $state((read('tide.theme') as Theme | null) ?? 'system');

  setTheme(theme: Theme): void {
    this.theme = theme;
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    write('tide.theme', theme === 'system' ? undefined : theme);
  }

  /** Whether somebody was signed in here last: then more is asked for at once, see `public/first.js`. */
  setHere(here: boolean): void {
    write('tide.here', here ? '1' : undefined);
  }
}

export const kept = new Kept();
