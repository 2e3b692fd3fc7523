// Server-sent events over `fetch`, so that a refusal can be read, any event name heard, and the end told from a fault.
import { send } from './api';

export interface Heard {
  event: string;
  data: string;
  id: string;
}

/** Reads a stream of events until it ends or is aborted. With a body it is asked for by somebody who is there. */
export async function* events(url: string, signal: AbortSignal, body?: unknown): AsyncGenerator<Heard> {
  const accept = 'text/event-stream';
  const init: RequestInit =
    body === undefined
      ? { headers: { accept, 'x-tidegate-background': '1' }, signal }
      : { method: 'POST', headers: { accept, 'content-type': 'application/json' }, body: JSON.stringify(body), signal };
  const response = await send(url, init);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const heard = parsed(block);
        if (heard) yield heard;
      }
    }
  } finally {
    reader.releaseLock();
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
