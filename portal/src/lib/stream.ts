// Server-sent events over `fetch`, so that a refusal can be read, any event name heard, and the end told from a fault.
import { asOf, brokenOff, Refusal, send } from './api';

export interface Heard {
  event: string;
  data: string;
  id: string;
}

/** The gate says something every 15 s at least. A line on which nothing is heard for this long is none, whatever the system makes of it. */
const SILENCE = 40_000;
/** How often that is looked at. */
const LOOK = 5_000;

/** How a stream is asked for. */
export interface Wanted {
  /** With a body it is asked for by somebody who is there. */
  body?: unknown;
  /** Called when the gate has answered: everything is heard that is entered after this entry. */
  opened?: (asOf: string | null) => void;
}

/** Reads a stream of events until it ends or is aborted. A line that breaks off, or goes silent, is a refusal. */
export async function* events(url: string, signal: AbortSignal, { body, opened }: Wanted = {}): AsyncGenerator<Heard> {
  const accept = 'text/event-stream';
  const line = new AbortController();
  const give_up = (): void => line.abort();
  signal.addEventListener('abort', give_up);
  if (signal.aborted) give_up();
  const init: RequestInit =
    body === undefined
      ? { headers: { accept, 'x-tidegate-background': '1' }, signal: line.signal }
      : { method: 'POST', headers: { accept, 'content-type': 'application/json' }, body: JSON.stringify(body), signal: line.signal };
  // By the clock and not by a timer of that length: who slept through it wakes up to a line that is gone.
  let heard = Date.now();
  const watch = setInterval(() => {
    if (Date.now() - heard > SILENCE) give_up();
  }, LOOK);
  let reader: ReadableStreamDefaultReader<string> | undefined;
  const leave = (): void => void reader?.cancel().catch(() => {});
  line.signal.addEventListener('abort', leave);
  try {
    const response = await send(url, init);
    if (!response.body) return;
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    opened?.(asOf(response));
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (line.signal.aborted) throw new DOMException('', 'AbortError');
      if (done) return;
      heard = Date.now();
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } catch (error) {
    if (signal.aborted || error instanceof Refusal) throw error;
    throw brokenOff();
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', give_up);
    leave();
  }
}

function parsed(block: string): Heard | undefined {
  const heard: Heard = { event: 'message', data: '', id: '' };
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith(':')) continue;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') heard.event = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id') heard.id = value;
  }
  heard.data = data.join('\n');
  return data.length > 0 ? heard : undefined;
}
