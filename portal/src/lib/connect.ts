// The exact command that connects.
import type { GateFacts } from './api';

/** What to type for a role on a resource of this kind. Databases ask for a password besides: a connect token. */
export function command(facts: GateFacts | undefined, kind: string, resource: string, role: string): string | undefined {
  const who = `${resource}+${role}`;
  if (kind === 'ssh' && facts?.ssh) {
    const { host, port } = facts.ssh;
    return port === 22 ? `ssh ${who}@${host}` : `ssh -p ${port} ${who}@${host}`;
  }
  if (kind === 'postgres' && facts?.postgres) {
    const { host, port } = facts.postgres;
    return `psql "host=${host} port=${port} user=${who} sslmode=require"`;
  }
  if (kind === 'mysql' && facts?.mysql) {
    const { host, port } = facts.mysql;
    return `mysql -h ${host} -P ${port} -u ${who} --ssl -p`;
  }
  return undefined;
}

/** The command that brings the password of its own grant along, and asks for the grant if there is none; for databases alone. */
export function shorter(kind: string, resource: string, role: string): string | undefined {
  const program = { postgres: 'psql', mysql: 'mysql' }[kind];
  return program && `tidegate ${program} ${resource}+${role}`;
}

/** What a resource of each kind is opened with in the browser. */
export const consoles: Record<string, string> = { ssh: 'terminal', postgres: 'SQL prompt', mysql: 'SQL prompt' };
