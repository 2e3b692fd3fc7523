// A terminal that only shows. Loaded when a session is looked at, not before.
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';

/**
 * The page forbids inline styles, and xterm.js writes its measures into `<style>` elements. It gets a document whose style
 * elements put their text into sheets of script's own making, which the policy of the page allows.
 */
function withoutInlineStyles(document: Document): Document {
  return new Proxy(document, {
    get(target, key) {
      if (key === 'createElement') {
        return (name: string, options?: ElementCreationOptions): HTMLElement => {
          const element = target.createElement(name, options);
          return name === 'style' ? sheeted(target, element) : element;
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function sheeted(document: Document, element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, 'textContent', {
    configurable: true,
    get: () => '',
    set: (text: string) => sheet.replaceSync(text),
  });
  const remove = element.remove.bind(element);
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    remove();
  };
  return element;
}

/** Opens a terminal in an element. */
export function open(element: HTMLElement, cols = 80, rows = 24): Terminal {
  const terminal = new Terminal({
    cols,
    rows,
    disableStdin: true,
    cursorBlink: false,
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
  terminal.open(element);
  terminal.textarea?.setAttribute('tabindex', '-1');
  terminal.textarea?.setAttribute('aria-hidden', 'true');
  return terminal;
}

export type { Terminal };
