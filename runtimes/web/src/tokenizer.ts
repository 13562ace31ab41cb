/** CLIP's byte pairs, from a `tokenizer.json`. Source: `text/tokenizer.py` and the `tokenizers` library. */

import { cleaned, type Cleaning } from "./clean.js";
import { InputError, oneLine } from "./errors.js";

/** What of a text tower's spec decides how texts are read. */
export interface Tower {
  readonly vocab: number;
  readonly context: number;
  readonly filled: boolean;
  readonly clean: Cleaning;
}

interface Fields {
  model: {
    type: string;
    vocab: Record<string, number>;
    merges: (string | [string, string])[];
    end_of_word_suffix: string;
  };
  normalizer: unknown;
  pre_tokenizer: { pretokenizers: [{ pattern: { Regex: string } }, unknown] };
  post_processor: { single: [{ SpecialToken: { id: string } }, unknown, { SpecialToken: { id: string } }] };
  padding?: { pad_id: number } | null;
}

const WORDS = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu;
const REGEX = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"; // the same, as a tokenizer.json has it

export class Tokenizer {
  /** The token id that fills a text up. */
  readonly pad: number;
  private readonly vocab: Map<string, number>;
  private readonly ranks: Map<string, number>;
  private readonly suffix: string;
  private readonly ends: readonly [string, string];
  private readonly letters = letters();
  private readonly context: number;

  /** text: of a `tokenizer.json`. context: how long a text may be, where that is less than the tower's. shown: its path. */
  constructor(text: string, private readonly tower: Tower, context: number | null, shown: string) {
    try {
      const fields = JSON.parse(text.replace(/^\ufeff/, "")) as Fields;
      const { model } = fields;
      if (model.type !== "BPE") throw new Error("its model is not BPE");
      if (fields.pre_tokenizer.pretokenizers[0].pattern.Regex !== REGEX) throw new Error("its pre_tokenizer is not CLIP's");
      this.vocab = new Map(Object.entries(model.vocab));
      this.ranks = new Map(model.merges.map((pair, rank) => [typeof pair === "string" ? pair : pair.join(" "), rank]));
      this.suffix = model.end_of_word_suffix;
      const [start, , end] = fields.post_processor.single;
      this.ends = [start.SpecialToken.id, end.SpecialToken.id];
      for (const each of this.ends) if (!this.vocab.has(each)) throw new Error(`Token \`${each}\` out of vocabulary`);
      for (const id of this.vocab.values()) {
        if (!Number.isInteger(id) || id < 0 || id >= tower.vocab) throw new Error(`${id} is no token id of ${tower.vocab}`);
      }
      this.pad = fields.padding?.pad_id ?? 0;
    } catch (error) {
      throw new InputError(`${shown}: not a tokenizer.json (${oneLine(error)}); export the bundle again`);
    }
    this.context = context ?? tower.context;
  }

  /** Token ids: start of text, the words, end of text; a text that is longer than the context is cut. */
  read(given: string): number[] {
    const [start, end] = this.ends.map((each) => this.vocab.get(each)!) as [number, number];
    const most = Math.max(this.context, 2) - 1;
    const ids = [start];
    let rest = cleaned(given, this.tower.clean);
    while (rest && ids.length < most) {
      // The two ends stand in a text as they are, and are looked for before anything is done to it.
      const places = this.ends.map((each) => rest.indexOf(each));
      const found = [0, 1].filter((k) => places[k]! >= 0).sort((a, b) => places[a]! - places[b]!)[0];
      const until = found === undefined ? rest.length : places[found]!;
      this.append(rest.slice(0, until), most, ids);
      if (found !== undefined) ids.push(this.vocab.get(this.ends[found]!)!);
      rest = rest.slice(until + (found === undefined ? 0 : this.ends[found]!.length));
    }
    ids.length = Math.min(ids.length, most);
    ids.push(end);
    while (this.tower.filled && ids.length < this.context) ids.push(this.pad);
    return ids;
  }

  private append(text: string, most: number, ids: number[]): void {
    for (const [word] of text.normalize("NFC").replace(/\s+/g, " ").toLowerCase().matchAll(WORDS)) {
      if (ids.length >= most) return;
      ids.push(...this.pieces(word));
    }
  }

  /** The byte pairs of a word: of all neighbours that merge, the first of those that merge earliest, and so on. */
  private pieces(word: string): number[] {
    let parts = Array.from(new TextEncoder().encode(word), (byte) => this.letters[byte]!);
    parts[parts.length - 1] += this.suffix;
    parts = parts.filter((each) => this.vocab.has(each));
    for (;;) {
      let best = -1;
      let lowest = Infinity;
      for (let at = 0; at + 1 < parts.length; at++) {
        const rank = this.ranks.get(`${parts[at]} ${parts[at + 1]}`) ?? Infinity;
        if (rank < lowest) [best, lowest] = [at, rank];
      }
      if (best < 0) return parts.map((each) => this.vocab.get(each)!);
      parts.splice(best, 2, parts[best]! + parts[best + 1]!);
    }
  }
}

/** The letter that stands for each byte in the words of a vocabulary (GPT-2's): itself where it is printable. */
function letters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}
