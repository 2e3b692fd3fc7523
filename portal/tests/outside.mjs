// What stands outside the gate, as far as these tests need it: a mail server, a collector of the log, endpoints for webhooks.
import { createServer as createWeb } from 'node:http';
import { createServer } from 'node:net';
import { eventually } from './gate.mjs';

export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const listening = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
const closed = (server) =>
  new Promise((done) => {
    server.close(done);
    server.closeAllConnections?.();
  });

/** The plain text of a mail: the first part of a `multipart/alternative`. */
function plain(raw) {
  const part = raw.split(/\r\nContent-Type: text\/plain[^\r]*/i)[1] ?? '';
  const [head, ...rest] = part.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n').split('\r\n--')[0];
  if (/base64/i.test(head)) return Buffer.from(body, 'base64').toString('utf8');
  if (!/quoted-printable/i.test(head)) return body;
  const bytes = body.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A mail server for whoever is on this machine (`security = "none"`), which takes everything. */
export async function startMailServer() {
  const taken = [];
  const server = createServer((socket) => {
    let heard = '';
    let to = '';
    let inside = false;
    const say = (line) => socket.write(`${line}\r\n`);
    socket.setEncoding('latin1').on('error', () => {});
    say('220 localhost ESMTP');
    socket.on('data', (piece) => {
      heard += piece;
      for (;;) {
        const end = heard.indexOf(inside ? '\r\n.\r\n' : '\r\n');
        if (end < 0) return;
        const line = heard.slice(0, end);
        heard = heard.slice(end + (inside ? 5 : 2));
        if (inside) {
          inside = false;
          taken.push({ to, raw: line, text: plain(line) });
          say('250 2.0.0 queued');
        } else if (/^EHLO /i.test(line)) say('250-localhost\r\n250 8BITMIME');
        else if (/^RCPT TO:/i.test(line)) (to = /<(.*?)>/.exec(line)?.[1] ?? ''), say('250 2.1.5 OK');
        else if (/^DATA$/i.test(line)) (inside = true), say('354 go on');
        else if (/^QUIT$/i.test(line)) say('221 bye'), socket.end();
        else say('250 OK');
      }
    });
  });
  const port = await listening(server);
  return {
    settings: `[mail]\nhost = "127.0.0.1"\nport = ${port}\nsecurity = "none"\nfrom = "gate@tide.example"\naddresses = ["127.0.0.1"]\n`,
    to: (address) => taken.filter((mail) => mail.to === address),
    /** What stands behind the `#` of the newest link to a page of the portal that somebody was sent, in a mail that says this. */
    async code(address, page, says = '') {
      const find = () => taken.filter((mail) => mail.to === address && mail.text.includes(says)).map((mail) => new RegExp(`/${page}#(\\S+)`).exec(mail.text)?.[1]).findLast(Boolean);
      return eventually(`a mail to ${address} with a link to /${page}`, find);
    },
    stop: () => closed(server),
  };
}

/** Something that is told by HTTP, and answers as it is set to. */
export async function startEndpoint(status) {
  const it = { status, taken: 0 };
  const server = createWeb((request, response) => {
    request.resume().on('end', () => {
      if (it.status < 300) it.taken += 1;
      response.writeHead(it.status).end();
    });
  });
  const port = await listening(server);
  it.url = `http://127.0.0.1:${port}/`;
  it.stop = () => closed(server);
  return it;
}

/** A `[[stream]]` of the log to an endpoint. */
export const streamTo = (name, endpoint) => `[[stream]]\nname = "${name}"\nkind = "http"\nurl = "${endpoint.url}"\nsecret_file = "hook"\naddresses = ["127.0.0.1"]\n`;
/** A `[[webhook]]` that is told of requests. */
export const webhookTo = (name, endpoint) => `[[webhook]]\nname = "${name}"\nurl = "${endpoint.url}"\nevents = ["request.submitted", "request.approved"]\nsecret_file = "hook"\naddresses = ["127.0.0.1"]\n`;

/** Somebody names a mailbox and opens the link that is sent there. */
export async function mailboxOf(gate, mails, name) {
  const address = `${name}@tide.example`;
  const headers = await gate.browserOf(name);
  const say = async (path, body) => {
    const answer = await fetch(gate.facts.api + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };
  await say('/api/v1/me/mailbox', { address });
  await say('/api/v1/me/mailbox/confirmation', { code: await mails.code(address, 'mailbox') });
  return address;
}
