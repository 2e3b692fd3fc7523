// The little of Markdown that the gate writes: titles, paragraphs, lists, tables, code. It becomes a value, never markup, so that
// whatever a name in it looks like is text on the page.

/** A piece of a line. */
export interface Piece {
  text: string;
  kind: 'plain' | 'code' | 'strong';
}

export type Line = Piece[];

export type Block =
  | { kind: 'title'; level: number; text: string }
  | { kind: 'paragraph'; line: Line }
  | { kind: 'list'; ordered: boolean; items: Line[] }
  | { kind: 'code'; text: string }
  | { kind: 'table'; head: Line[]; rows: Line[][] };

/** A line with what is marked in it. What is not closed is plain. */
export function pieces(text: string): Line {
  const found: Line = [];
  let rest = 0;
  for (const match of text.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*/g)) {
    if (match.index > rest) found.push({ kind: 'plain', text: text.slice(rest, match.index) });
    found.push(match[1] !== undefined ? { kind: 'code', text: match[1] } : { kind: 'strong', text: match[2] ?? '' });
    rest = match.index + match[0].length;
  }
  if (rest < text.length) found.push({ kind: 'plain', text: text.slice(rest) });
  return found;
}

const cells = (line: string): Line[] => line.replace(/^\||\|$/g, '').split('|').map((cell) => pieces(cell.trim()));

/** The text, block by block. */
export function blocks(text: string): Block[] {
  const lines = text.split('\n');
  const found: Block[] = [];
  let at = 0;
  const take = (like: RegExp): string[] => {
    const from = at;
    while (at < lines.length && like.test(lines[at] ?? '')) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at] ?? '';
    const title = /^(#{1,4}) (.*)$/.exec(line);
    if (line.trim() === '') at += 1;
    else if (title) {
      found.push({ kind: 'title', level: title[1]?.length ?? 1, text: title[2] ?? '' });
      at += 1;
    } else if (line.startsWith('```')) {
      at += 1;
      const inside = take(/^(?!```)/);
      at += 1;
      found.push({ kind: 'code', text: inside.join('\n') });
    } else if (line.startsWith('|')) {
      const [head = '', , ...rows] = take(/^\|/);
      found.push({ kind: 'table', head: cells(head), rows: rows.map(cells) });
    } else if (/^(- |\d+\. )/.test(line)) {
      const items = take(/^(- |\d+\. )/);
      found.push({ kind: 'list', ordered: !line.startsWith('- '), items: items.map((item) => pieces(item.replace(/^(- |\d+\. )/, ''))) });
    } else {
      const whole = take(/^(?!\s*$|#{1,4} |```|\||- |\d+\. )/);
      found.push({ kind: 'paragraph', line: pieces(whole.join(' ')) });
    }
  }
  return found;
}
