// The one way to the API: typed by its OpenAPI document, refusals as values of one class.
import type { components, paths } from './openapi';
import { setServerTime } from './clock.svelte';
import { early } from './early';

export type Schemas = components['schemas'];
export type Me = Schemas['Me'];
export type Who = Schemas['Who'];
export type User = Schemas['User'];
export type Grant = Schemas['Grant'];
export type Request = Schemas['Request'];
export type RequestDetail = Schemas['RequestDetail'];
export type Terms = Schemas['Terms'];
export type Verdict = Schemas['Verdict'];
export type Resource = Schemas['Resource'];
export type Session = Schemas['Session'];
export type Frame = Schemas['Frame'];
export type AuditEntry = Schemas['AuditEntry'];
export type GateFacts = Schemas['GateFacts'];
export type ProblemBody = Schemas['Problem'];

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type Operation<P extends keyof paths, M extends Method> = M extends keyof paths[P] ? Exclude<paths[P][M], undefined> : never;
type Parameters<O> = O extends { parameters: infer P } ? P : never;
type PathOf<O> = Parameters<O> extends { path: infer P } ? P : undefined;
type QueryOf<O> = Parameters<O> extends { query?: infer Q } ? Q : undefined;
type BodyOf<O> = O extends { requestBody: { content: { 'application/json': infer B } } } ? B : undefined;
type Json<R> = R extends { content: { 'application/json': infer B } } ? B : undefined;
type Answer<O> = O extends { responses: infer R } ? { [S in keyof R & (200 | 201 | 202 | 204)]: Json<R[S]> }[keyof R & (200 | 201 | 202 | 204)] : never;

export interface Options<O> {
  path?: PathOf<O>;
  query?: QueryOf<O>;
  body?: BodyOf<O>;
  /** What the page fetches by itself keeps nobody signed in. */
  background?: boolean;
  /** The same key, the same effect: a second click does nothing twice. */
  once?: string;
  etag?: number;
  signal?: AbortSignal;
}

/** A refusal, or that the gate could not be reached. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;
  readonly detail: string | undefined;
  readonly requestId: string | undefined;
  readonly problem: Partial<ProblemBody>;

  constructor(status: number, problem: Partial<ProblemBody>) {
    super(problem.title ?? 'The gate gave no reason.');
    this.status = status;
    this.code = problem.code ?? 'unknown';
    this.hint = problem.hint ?? undefined;
    this.detail = problem.detail ?? undefined;
    this.requestId = problem.request_id ?? undefined;
    this.problem = problem;
  }
}

/** The gate did not answer at all. */
export function unreachable(): Refusal {
  return new Refusal(0, {
    title: 'The gate cannot be reached.',
    hint: 'Check the network; this page tries again by itself. Sessions that are open go on until their time is up.',
  });
}

/** The gate answered, and its answer did not arrive whole. */
export function brokenOff(): Refusal {
  return new Refusal(0, {
    title: 'The connection to the gate broke off.',
    hint: 'Try again. If you were changing something, look first whether it was done.',
  });
}

/** Reads the body of an answer. One that breaks off, or that something else than the gate wrote, is a refusal like any other. */
export async function whole<T>(reading: () => Promise<T>): Promise<T> {
  try {
    return await reading();
  } catch (error) {
    if (error instanceof Refusal || (error instanceof DOMException && error.name === 'AbortError')) throw error;
    throw brokenOff();
  }
}

let signedOut: () => void = () => {};
/** Called when an answer says that nobody is signed in. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

let answered: (asOf: string, asked: number) => void = () => {};
/** Called with as of which entry of the gate an answer is, and when it was asked for. */
export function onAnswer(then: (asOf: string, asked: number) => void): void {
  answered = then;
}

/** As of which entry of the gate an answer is; nothing, if it is for anybody. */
export function asOf(response: Response): string | null {
  return response.headers.get('x-tidegate-as-of');
}

export async function send(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  const reads = init.method === 'GET';
  const before = reads ? early(url) : undefined;
  const asked = before ? 0 : performance.now();
  try {
    response = await (before ?? fetch(url, { ...init, credentials: 'same-origin', cache: 'no-store', redirect: 'error' }));
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw unreachable();
  }
  const date = response.headers.get('date');
  if (date) setServerTime(Date.parse(date));
  const entry = asOf(response);
  if (reads && entry) answered(entry, asked);
  if (response.ok) return response;
  let problem: Partial<ProblemBody> = {};
  try {
    problem = (await response.json()) as ProblemBody;
  } catch {
    // Something between here and the gate answered.
  }
  const refusal = new Refusal(response.status, problem);
  if (response.status === 401 && refusal.code === 'not_signed_in') signedOut();
  throw refusal;
}

/** One call of the API. */
export async function call<P extends keyof paths, M extends Method>(
  method: M,
  path: P,
  options: Options<Operation<P, M>> = {},
): Promise<Answer<Operation<P, M>>> {
  let url = path as string;
  for (const [name, value] of Object.entries((options.path ?? {}) as Record<string, string>)) {
    url = url.replace(`{${name}}`, encodeURIComponent(value));
  }
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries((options.query ?? {}) as Record<string, unknown>)) {
    if (value !== undefined && value !== null && value !== '') query.set(name, String(value));
  }
  if (query.size > 0) url += `?${query}`;
  const headers: Record<string, string> = { accept: 'application/json' };
  if (options.background) headers['x-tidegate-background'] = '1';
  if (options.once) headers['idempotency-key'] = options.once;
  if (options.etag !== undefined) headers['if-match'] = `"${options.etag}"`;
  const init: RequestInit = { method: method.toUpperCase(), headers };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    headers['content-type'] = 'application/json';
    init.body = JSON.stringify(options.body);
  }
  const response = await send(url, init);
  return whole(async () => {
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as Answer<Operation<P, M>>;
  });
}

/** A key for `once`. */
export function fresh(): string {
  return crypto.randomUUID();
}
