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

/** Whether this page came over HTTP/1.1, where every stream takes a whole connection of the few a browser opens to one host. */
export const crowded = (): boolean => performance.getEntriesByType('navigation').some((entry) => 'nextHopProtocol' in entry && entry.nextHopProtocol === 'http/1.1');

/** Opens a console and reads what it says until it ends. */
export async function* open(wanted: Schemas['NewConsole'], signal: AbortSignal): AsyncGenerator<ConsoleEvent> {
  for await (const heard of events('/api/v1/consoles', signal, { body: wanted })) yield JSON.parse(heard.data) as ConsoleEvent;
}

/** The most that is sent at once, in bytes. */
const PIECE = 48 * 1024;

/** What a terminal answers a program by itself: where its cursor stands, what it is, what colours it has, whether it is looked at. */
// eslint-disable-next-line no-control-regex
const REPLY = /^\x1b(?:\[[?>=]?[\d;]*[Rcnt]|\[\??[\d;]*\$y|\[[IO]|\]\d+;[^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\)$/;

/** Whether it is no key that somebody pressed. */
export const isReply = (text: string): boolean => REPLY.test(text);

/** What is typed, in its order: while a piece is on its way the next ones gather. */
export class Typed {
  #waiting: number[] = [];
  /** Whether somebody is there: what a program asked of the terminal keeps nobody signed in. */
  #pressed = false;
  #size: [number, number] | undefined;
  #busy = false;
  readonly #id: string;
  readonly #failed: (error: unknown) => void;

  constructor(id: string, failed: (error: unknown) => void) {
    this.#id = id;
    this.#failed = failed;
  }

  type(text: string): void {
    if (!isReply(text)) this.#pressed = true;
    for (const byte of new TextEncoder().encode(text)) this.#waiting.push(byte);
    void this.#send();
  }

  /** Bytes that are no text: what a terminal reports of the mouse. */
  report(binary: string): void {
    this.#pressed = true;
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
        const background = !this.#pressed;
        this.#size = undefined;
        this.#pressed = false;
        const body: Schemas['ConsoleInput'] = {};
        if (piece.length > 0) body.data = btoa(Array.from(piece, (byte) => String.fromCharCode(byte)).join(''));
        if (size) [body.cols, body.rows] = size;
        await call('post', '/api/v1/consoles/{id}/input', { path: { id: this.#id }, body, background });
      }
    } catch (error) {
      this.#waiting = [];
      this.#pressed = false;
      this.#failed(error);
    } finally {
      this.#busy = false;
    }
  }
}
