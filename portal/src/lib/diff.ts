// What differs between two texts, line by line (the longest common subsequence), with a little of what stays around it.
export interface Line {
  kind: 'same' | 'gone' | 'new' | 'gap';
  text: string;
}

const AROUND = 3;
/** Beyond this many pairs of lines a text is shown as replaced. */
const MOST = 4_000_000;

export function diff(before: string, after: string): Line[] {
  const a = lines(before);
  const b = lines(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const middle = between(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const same = (text: string): Line => ({ kind: 'same', text });
  return shortened([...a.slice(0, start).map(same), ...middle, ...a.slice(a.length - end).map(same)]);
}

function lines(text: string): string[] {
  if (text === '') return [];
  return text.replace(/\n$/, '').split('\n');
}

function between(a: string[], b: string[]): Line[] {
  const gone = (text: string): Line => ({ kind: 'gone', text });
  const fresh = (text: string): Line => ({ kind: 'new', text });
  if (a.length * b.length > MOST) return [...a.map(gone), ...b.map(fresh)];
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] =
        a[i] === b[j] ? (common[(i + 1) * width + j + 1] ?? 0) + 1 : Math.max(common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0);
    }
  }
  const out: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [one, other] = [a[i] ?? '', b[j] ?? ''];
    if (one === other) {
      out.push({ kind: 'same', text: one });
      i += 1;
      j += 1;
    } else if ((common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0)) {
      out.push(gone(one));
      i += 1;
    } else {
      out.push(fresh(other));
      j += 1;
    }
  }
  return [...out, ...a.slice(i).map(gone), ...b.slice(j).map(fresh)];
}

function shortened(all: Line[]): Line[] {
  const near = all.map((_, i) => all.slice(Math.max(0, i - AROUND), i + AROUND + 1).some((line) => line.kind !== 'same'));
  const out: Line[] = [];
  let left = 0;
  all.forEach((line, i) => {
    if (near[i]) {
      if (left > 0) out.push({ kind: 'gap', text: `${left} lines that stay` });
      left = 0;
      out.push(line);
    } else left += 1;
  });
  if (left > 0) out.push({ kind: 'gap', text: `${left} lines that stay` });
  return out;
}
