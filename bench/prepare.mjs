// How fast text becomes tokens: node bench/prepare.mjs TURNS MEGABYTES TEXT TOKENIZER...
//
// In turns, for each folder TOKENIZER: `eellm prepare` of so many MB of the file TEXT, repeated where it is
// shorter, with one thread and with two; and, where PEERS names a folder in which npm has installed them,
// Hugging Face's libraries with one thread, each over a tenth of the text, in parts of 64 KiB as eellm's.
// Prints medians of MB/s, with the least and the most. The time of eellm has reading and writing in it, but
// not the start of Java; that of the peers encoding alone.
import {execFileSync} from "node:child_process";
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {tmpdir} from "node:os";
import {join, resolve} from "node:path";

const PART = 1 << 16;
const [turns, megabytes, source, ...tokenizers] = process.argv.slice(2);
if (tokenizers.length === 0 || !(Number(turns) > 0) || !(Number(megabytes) > 0)) {
  throw new Error("say how many turns and MB, a text and tokenizers: node bench/prepare.mjs 5 100 novels.txt runs/gpt2");
}

function prepare(text, folder, tokenizer, threads) {
  const options = ["--input", text, "--output", join(folder, "set"), "--tokenizer", tokenizer, "--threads", threads, "--json"];
  return JSON.parse(execFileSync(process.env.EELLM ?? "./eellm", ["prepare", ...options], {encoding: "utf8"})).megabytes_per_second;
}

// Encoders by the names of their packages, of those that are installed.
async function peers(tokenizer) {
  const found = new Map();
  if (!process.env.PEERS) {
    return found;
  }
  if (!existsSync(join(tokenizer, "tokenizer.json"))) {
    console.error(`without peers, which read a tokenizer.json: ${tokenizer} has none`);
    return found;
  }
  const {resolve: find} = createRequire(join(resolve(process.env.PEERS), "x.js"));
  const read = (name) => existsSync(join(tokenizer, name)) ? JSON.parse(readFileSync(join(tokenizer, name), "utf8")) : {};
  for (const [name, encoder] of [
    ["@huggingface/tokenizers", ({Tokenizer}) => {
      const own = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
      return (part) => own.encode(part, {add_special_tokens: false});
    }],
    ["@anush008/tokenizers", ({Tokenizer}) => {
      const own = Tokenizer.fromFile(join(tokenizer, "tokenizer.json"));
      return (part) => own.encode(part, null, {addSpecialTokens: false});
    }],
  ]) {
    let module;
    try {
      module = await import(find(name));
    } catch (failure) {
      console.error(`without ${name}: ${failure.message.split("\n")[0]}`);
      continue;
    }
    found.set(name, encoder(module.default ?? module));
  }
  return found;
}

async function peerSpeed(encode, text) {
  const start = process.hrtime.bigint();
  for (let at = 0; at < text.length; at += PART) {
    await encode(text.slice(at, at + PART));
  }
  return Buffer.byteLength(text) / 1e6 / (Number(process.hrtime.bigint() - start) / 1e9);
}

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  return `${median.toFixed(2)} (${sorted[0].toFixed(2)} to ${sorted.at(-1).toFixed(2)})`;
}

const folder = mkdtempSync(join(tmpdir(), "prepare-"));
try {
  const once = readFileSync(source);
  const bytes = Math.round(Number(megabytes) * 1e6);
  const all = Buffer.concat(Array(Math.ceil(bytes / once.length)).fill(once)).subarray(0, bytes);
  const whole = all.subarray(0, all.lastIndexOf("\n") + 1); // no character is cut
  const text = join(folder, "text.txt");
  writeFileSync(text, whole);
  const part = whole.subarray(0, whole.lastIndexOf("\n", whole.length / 10) + 1).toString();
  for (const tokenizer of tokenizers) {
    const others = await peers(tokenizer);
    const speeds = new Map();
    const add = (name, speed) => speeds.set(name, [...(speeds.get(name) ?? []), speed]);
    for (let turn = 0; turn < Number(turns); turn++) {
      const one = prepare(text, folder, tokenizer, "1");
      const two = prepare(text, folder, tokenizer, "2");
      add("eellm, one thread", one);
      add("eellm, two threads", two);
      add("two threads beside one", two / one);
      for (const [name, encode] of others) {
        add(name, await peerSpeed(encode, part));
      }
    }
    console.log(tokenizer);
    speeds.forEach((values, name) => console.log(`  ${name}: ${spread(values)}`));
  }
} finally {
  rmSync(folder, {recursive: true});
}
