// A console: it lasts as long as its events are read, and what is typed goes in calls of its own, one after the other.
import { call, type Refusal, type Schemas } from './api';
import { events } from './stream';

export type ConsoleEvent = Schemas['ConsoleEvent'];

/** How a console ended. */
export interface End {
  how: string;
  /** What the door or the server said. */
  error?: Schemas['SqlError'] | null | undefined;
  /** What the gate refused. */
  refusal?: Refusal | undefined;
}

/** Opens a console and reads what it says until it ends. */
export async function* open(wanted: Schemas['NewConsole'], signal: AbortSignal): AsyncGenerator<ConsoleEvent> {
  for await (const heard of events('/api/v1/consoles', signal, wanted)) yield JSON.parse(heard.data) as ConsoleEvent;
}

/** The most that is sent at once, in bytes. */
const PIECE = 48 * 1024;

/** What is typed, in its order: while a piece is on its way the next ones gather. */
export class Typed {
  #waiting: number[] = [];
  #size: [number, number] | undefined;
  #busy = false;
  readonly #id: string;
  readonly #failed: (error: unknown) => void;

  constructor(id: string, failed: (error: unknown) => void) {
    this.#id = id;
    this.#failed = failed;
  }

  type(text: string): void {
    for (const byte of new TextEncoder().encode(text)) this.#waiting.push(byte);
    void this.#send();
  }

  /** Bytes that are no text: what a terminal reports of the mouse. */
  report(binary: string): void {
    for (const char of binary) this.#waiting.push(char.charCodeAt(0) & 0xff);
    void this.#send();
  }

  resize(size: [number, number]): void {
    this.#size = size;
    void this.#send();
  }

  async #send(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#waiting.length > 0 || this.#size) {
        const piece = this.#waiting.splice(0, PIECE);
        const size = this.#size;
        this.#size = undefined;
        const body: Schemas['ConsoleInput'] = {};
        if (piece.length > 0) body.data = btoa(Array.from(piece, (byte) => String.fromCharCode(byte)).join(''));
        if (size) [body.cols, body.rows] = size;
        await call('post', '/api/v1/consoles/{id}/input', { path: { id: this.#id }, body });
      }
    } catch (error) {
      this.#waiting = [];
      this.#failed(error);
    } finally {
      this.#busy = false;
    }
  }
}
