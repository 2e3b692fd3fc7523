// Short notes of what was done, read out by screen readers.
interface Note {
  id: number;
  text: string;
  bad: boolean;
}

class Notes {
  all: Note[] = $state([]);
  #next = 0;

  say(text: string, bad = false): void {
    const id = this.#next++;
    this.all.push({ id, text, bad });
    setTimeout(() => this.drop(id), bad ? 12_000 : 5000);
  }

  drop(id: number): void {
    this.all = this.all.filter((note) => note.id !== id);
  }
}

export const notes = new Notes();
