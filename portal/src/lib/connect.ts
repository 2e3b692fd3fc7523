// The exact command that connects.
import type { GateFacts } from './api';

/** What to type for a role on a resource of this kind. */
export function command(facts: GateFacts | undefined, kind: string, resource: string, role: string): string | undefined {
  const who = `${resource}+${role}`;
  if (kind === 'ssh' && facts?.ssh) {
    const { host, port } = facts.ssh;
    return port === 22 ? `ssh ${who}@${host}` : `ssh -p ${port} ${who}@${host}`;
  }
  return undefined;
}
