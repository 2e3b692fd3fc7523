// A terminal: one that only shows, and one that is typed into. Loaded when there is one to be seen, not before.
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';

/**
 * The page forbids inline styles, and xterm.js writes its measures into `<style>` elements and `style` attributes. It gets a document
 * whose style elements put their text into sheets of script's own making, and whose elements set their style as scripts may: both are
 * what the policy of the page allows.
 */
function withoutInlineStyles(document: Document): Document {
  return new Proxy(document, {
    get(target, key) {
      if (key === 'createElement') {
        return (name: string, options?: ElementCreationOptions): HTMLElement =>
          name === 'style' ? sheet(target) : styled(target.createElement(name, options));
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** What stands for a `<style>` element: its text becomes a sheet. */
function sheet(document: Document): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  const element = document.createElement('span');
  element.hidden = true;
  const remove = element.remove.bind(element);
  Object.defineProperty(element, 'textContent', { configurable: true, get: () => '', set: (text: string) => sheet.replaceSync(text) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    remove();
  };
  return element;
}

/** While it opens, xterm.js asks the page's own document for one more style element, whatever document it was given. */
function withSheets(document: Document, open: () => void): void {
  const real = document.createElement.bind(document) as (name: string, options?: ElementCreationOptions) => HTMLElement;
  document.createElement = ((name: string, options?: ElementCreationOptions) => (name === 'style' ? sheet(document) : real(name, options))) as Document['createElement'];
  try {
    open();
  } finally {
    Reflect.deleteProperty(document, 'createElement');
  }
}

function styled(element: HTMLElement): HTMLElement {
  const set = element.setAttribute.bind(element);
  element.setAttribute = (name, value) => {
    if (name === 'style') element.style.cssText = value;
    else set(name, value);
  };
  return element;
}

/** Opens a terminal in an element; `types`: somebody types into it. */
export function open(element: HTMLElement, cols = 80, rows = 24, types = false): Terminal {
  const terminal = new Terminal({
    cols,
    rows,
    disableStdin: !types,
    cursorBlink: types,
    convertEol: false,
    scrollback: 5000,
    fontSize: 13,
    lineHeight: 1.2,
    fontFamily: "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    screenReaderMode: true,
    documentOverride: withoutInlineStyles(element.ownerDocument),
    // What a session prints is shown and nothing else: no link is followed, no title taken, nothing put on the clipboard.
    linkHandler: { activate: () => {} },
    allowProposedApi: false,
    theme: { background: '#10181c', foreground: '#dfe8ec', cursor: '#4fd1c1', selectionBackground: '#2c4a52' },
  });
  for (const code of [0, 1, 2, 4, 5, 8, 10, 11, 12, 52, 104]) terminal.parser.registerOscHandler(code, () => true);
  withSheets(element.ownerDocument, () => terminal.open(element));
  if (!types) {
    terminal.textarea?.setAttribute('tabindex', '-1');
    terminal.textarea?.setAttribute('aria-hidden', 'true');
  }
  return terminal;
}

/** Gives a terminal the size the session had. A client without a window says 0 by 0; then it is the usual one. */
export function resize(terminal: Terminal, [cols, rows]: [number, number]): void {
  terminal.resize(cols < 2 ? 80 : Math.min(cols, 500), rows < 2 ? 24 : Math.min(rows, 300));
}

/** How many columns and rows fit into an element, as they are drawn now. */
export function fitting(terminal: Terminal, element: HTMLElement): [number, number] {
  const screen = element.querySelector('.xterm-screen');
  const drawn = screen?.getBoundingClientRect();
  if (!drawn || drawn.width === 0 || drawn.height === 0) return [terminal.cols, terminal.rows];
  const style = getComputedStyle(element);
  const width = element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 16;
  const height = element.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const cols = Math.floor(width / (drawn.width / terminal.cols));
  const rows = Math.floor(height / (drawn.height / terminal.rows));
  return [Math.min(500, Math.max(20, cols)), Math.min(300, Math.max(5, rows))];
}

export type { Terminal };
