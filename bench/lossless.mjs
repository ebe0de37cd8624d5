// Whether drafts change a token: node bench/lossless.mjs MODEL [LLAMA_CPP]
//
// MODEL is a model's folder with exits, a draft head and a draft table. The full model writes texts one at a
// time. The same texts are then written by it in batches, and with each kind of drafts, 1, 8 and 32 at once,
// in all number formats, greedily and drawn; tokens that differ are counted: 0. With LLAMA_CPP, a folder with
// build/bin in it, also how many greedy texts llama.cpp changes with its own drafts: n-grams of the text, and
// a draft model that is MODEL's layers below the first exit.
//
// A million tokens take half an hour on two cores. It may be stopped at any time: what is done lies in
// target/lossless, and the next call goes on. The last one writes results.json there.
import {execFileSync, spawn} from "node:child_process";
import {cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, writeFileSync} from "node:fs";
import {availableParallelism, cpus} from "node:os";
import {join} from "node:path";
import {awaitServer} from "./llama-cpp/server.mjs";

process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));
const [model, llamaCpp] = process.argv.slice(2);
if (!model || !existsSync(join(model, "config.json"))) {
  throw new Error(`'${model}' is no model's folder: node bench/lossless.mjs MODEL [LLAMA_CPP]`);
}
const eellm = process.env.EELLM ?? "./eellm";
const work = "target/lossless";
const TOKENS = 200; // of a text
const PROMPT = 48; // characters, each of which may be a token
const URL = "http://127.0.0.1:8124";
const TEXTS = {1: 12, 8: 24, 32: 64}; // by how many are written at once: few where it takes long
const BATCHES = Object.keys(TEXTS).map(Number);
const MOST = Math.max(...Object.values(TEXTS));
const {early_exit: exits, ...config} = read(join(model, "config.json"));
const LOWER = join(work, "lower");

const NUMBERS = {
  float32: {options: ["--dtype", "float32"]},
  "bfloat16, chain": {options: ["--dtype", "bfloat16"], order: "chain"},
  int8: {options: ["--quantize", "int8"]},
  int4: {options: ["--quantize", "int4"]},
  "bfloat16, tiles": {options: ["--dtype", "bfloat16"], order: "tiles"},
};
// The default comes first, so that it cannot draft from the same text of another way.
const WAYS = {
  "full model": {mode: "full"},
  "all, the default": {mode: "speculative"},
  exits: {mode: "speculative", draft_source: "exits"},
  "draft head": {mode: "speculative", draft_source: "head"},
  "text and counted table": {mode: "speculative", draft_source: "text", draft_memory: "own"},
  "text, both tables, other requests": {mode: "speculative", draft_source: "text"},
  "first exit, always 4 tokens": {mode: "speculative", draft_exit: exits.layers[0], draft_length: 4, draft_margin: 0},
};
const TEMPERATURES = [0, 0.8];
const THEIR_NUMBERS = ["float32", "bfloat16", "q8_0", "q4_0"];
const THEIR_WAYS = {
  none: [],
  "n-grams": ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "3", "--spec-ngram-simple-size-m", "8"],
  "draft model": ["--spec-type", "draft-simple", "--spec-draft-model", `${LOWER}.gguf`, "--spec-draft-n-max", "8"],
};

function read(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

// Whole or not at all.
function write(file, value) {
  writeFileSync(`${file}.new`, JSON.stringify(value));
  renameSync(`${file}.new`, file);
}

// Beginnings of code, prose and tables, and random ids, by turns; the same in every call, since a linear
// congruential generator draws.
function prompts() {
  let state = 12345;
  const draw = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const lines = (folder, pattern) =>
    readdirSync(folder)
      .filter((name) => /\.(java|md)$/.test(name))
      .sort()
      .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
      .filter((line) => line.length > 20 && pattern.test(line));
  const kinds = [
    lines("eellm-core/src/main/java/org/eellm/decode/speculate", /[;{]$/),
    lines("docs", /^[A-Z]/),
    lines("docs/reports", /^\| /),
  ];
  const ids = () => Array.from({length: 16}, () => 300 + draw(config.vocab_size - 400));
  return Array.from({length: MOST}, (_, i) => kinds[i % 4]?.[draw(kinds[i % 4].length)].slice(0, PROMPT) ?? ids());
}

async function post(path, body) {
  const response = await fetch(URL + path, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(body),
  });
  const reply = await response.json();
  if (!response.ok) {
    throw new Error(JSON.stringify(reply));
  }
  return reply;
}

async function ask({way, temperature}, prompt, seed) {
  const sampling = {temperature, seed, max_tokens: TOKENS, ignore_eos: true};
  const reply = await post("/v1/completions", {prompt, ...sampling, early_exit: {...WAYS[way], per_token: true}});
  const {drafted_tokens: drafted, confirmed_tokens: confirmed} = reply.metrics.early_exit;
  return {ids: reply.choices[0].early_exit.map(({id}) => id), drafted, confirmed};
}

async function askTheirs(cell, prompt) {
  const sampling = {temperature: 0, n_predict: TOKENS, ignore_eos: true};
  const {tokens, timings} = await post("/completion", {prompt, ...sampling, return_tokens: true, cache_prompt: false});
  return {ids: tokens, drafted: timings.draft_n ?? 0, confirmed: timings.draft_n_accepted ?? 0};
}

const sum = (list, key) => list.reduce((all, each) => all + each[key], 0);
const fileOf = (cell, temperature, way, batch) =>
  join(work, `${[cell.program, cell.numbers, temperature, way, batch].join("-").replace(/[, ]+/g, "_")}.json`);

// What became of a way's texts beside the full model's alone.
function compare(cell) {
  const full = read(fileOf(cell, cell.temperature, cell.plain, 1));
  const texts = read(fileOf(cell, cell.temperature, cell.way, cell.batch)).slice(0, TEXTS[cell.batch]);
  const different = texts.map(({ids}, i) => full[i].ids.filter((id, at) => id !== ids[at]).length);
  return {
    ...cell,
    tokens: texts.length * TOKENS,
    different: different.reduce((a, b) => a + b),
    changed: different.filter((count) => count > 0).length,
    drafted: sum(texts, "drafted"),
    confirmed: sum(texts, "confirmed"),
  };
}

let left = 0;

// Has a server write the texts of those cells that are not there yet.
async function fill(cells, command, args, environment, asks) {
  const missing = cells.filter((cell) => !existsSync(fileOf(cell, cell.temperature, cell.way, cell.batch)));
  left -= cells.length - missing.length;
  if (missing.length === 0) {
    return;
  }
  const log = openSync(join(work, "servers.log"), "a");
  const server = spawn(command, args, {stdio: ["ignore", log, log], env: {...process.env, ...environment}});
  const over = new Promise((resolve) => server.once("exit", resolve));
  const stop = () => server.kill();
  process.on("exit", stop);
  try {
    await awaitServer(URL);
    for (const cell of missing) {
      const asked = prompts().slice(0, cell.batch === 1 && cell.way === cell.plain ? MOST : TEXTS[cell.batch]);
      const replies = [];
      let next = 0;
      const client = async () => {
        while (next < asked.length) {
          const at = next++;
          replies[at] = await asks(cell, asked[at], at);
          if (replies[at].ids.length !== TOKENS) {
            throw new Error(`text ${at} has ${replies[at].ids.length} tokens, not ${TOKENS}`);
          }
        }
      };
      await Promise.all(Array.from({length: cell.batch}, client));
      write(fileOf(cell, cell.temperature, cell.way, cell.batch), replies);
      const {program, numbers, temperature, batch, way} = cell;
      const {different, tokens, confirmed, drafted} = compare(cell);
      const what = `${program}, ${numbers}, temperature ${temperature}, ${batch} at once, ${way}`;
      console.log(`${what}: ${different} of ${tokens} differ, ${confirmed} of ${drafted} drafts held; ${--left} left`);
    }
  } finally {
    process.off("exit", stop);
    stop();
    await over;
  }
}

async function fillOurs(numbers, batch) {
  const cells = TEMPERATURES.flatMap((temperature) =>
    Object.keys(WAYS).map((way) => ({program: "eellm", numbers, temperature, batch, way, plain: "full model"})),
  );
  const {options, order} = NUMBERS[numbers];
  const java = `${process.env.EELLM_JAVA_OPTS ?? ""} ${order ? `-Deellm.kernel.order=${order}` : ""}`;
  const args = ["serve", "--model", model, "--port", "8124", "--batch-size", `${batch}`, ...options];
  await fill(cells, eellm, args, {EELLM_JAVA_OPTS: java}, ask);
  return cells.map(compare);
}

async function fillTheirs(numbers, batch, way) {
  const cell = {program: "llama.cpp", numbers, temperature: 0, batch, way, plain: "none"};
  const threads = `${availableParallelism()}`;
  const size = ["-np", `${batch}`, "-c", `${batch * config.max_position_embeddings}`, "-t", threads, "-tb", threads];
  const args = ["-m", join(work, `${numbers}.gguf`), ...size, "--port", "8124", ...THEIR_WAYS[way]];
  await fill([cell], join(llamaCpp, "build/bin/llama-server"), args, {}, askTheirs);
  return compare(cell);
}

// MODEL's layers below the first exit, and its norm, as a model of their own.
function makeLower() {
  mkdirSync(LOWER, {recursive: true});
  for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]) {
    cpSync(join(model, name), join(LOWER, name));
  }
  const [exit] = exits.layers;
  writeFileSync(join(LOWER, "config.json"), JSON.stringify({...config, num_hidden_layers: exit}));
  const file = readFileSync(join(model, "model.safetensors"));
  const start = 8 + Number(file.readBigUInt64LE());
  const kept = {};
  const parts = [];
  let end = 0;
  for (const [name, tensor] of Object.entries(JSON.parse(file.toString("utf8", 8, start)))) {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1] ?? (name === "model.embed_tokens.weight" ? 0 : exit);
    const isNorm = name === `exits.${exit}.norm.weight`;
    if (Number(layer) < exit || isNorm) {
      const [from, to] = tensor.data_offsets;
      kept[isNorm ? "model.norm.weight" : name] = {...tensor, data_offsets: [end, (end += to - from)]};
      parts.push(file.subarray(start + from, start + to));
    }
  }
  const header = Buffer.from(JSON.stringify(kept));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(join(LOWER, "model.safetensors"), Buffer.concat([length, header, ...parts]));
}

function exportGguf(from, dtype, to) {
  if (!existsSync(to)) {
    const made = `${to.slice(0, -".gguf".length)}.new.gguf`;
    const show = {stdio: ["ignore", "ignore", "inherit"]};
    execFileSync(eellm, ["export", "--model", from, "--format", "gguf", "--dtype", dtype, "--output", made], show);
    renameSync(made, to);
  }
}

function makeTheirs() {
  if (!existsSync(join(LOWER, "model.safetensors"))) {
    makeLower();
  }
  exportGguf(LOWER, "float32", `${LOWER}.gguf`);
  for (const numbers of THEIR_NUMBERS.filter((each) => each !== "q4_0")) {
    exportGguf(model, numbers, join(work, `${numbers}.gguf`));
  }
  const files = [join(work, "float32.gguf"), join(work, "q4_0.gguf")];
  execFileSync(join(llamaCpp, "build/bin/llama-quantize"), [...files, "Q4_0"], {stdio: "ignore"});
}

// Runs

mkdirSync(work, {recursive: true});
const commit = execFileSync("git", ["describe", "--always", "--dirty"]).toString().trim();
const begun = join(work, "commit");
if (existsSync(begun) && readFileSync(begun, "utf8") !== commit) {
  throw new Error(`${work} was begun at ${readFileSync(begun, "utf8")}, and this is ${commit}; remove it to begin anew`);
}
writeFileSync(begun, commit);
left = Object.keys(NUMBERS).length * BATCHES.length * TEMPERATURES.length * Object.keys(WAYS).length;
left += llamaCpp ? THEIR_NUMBERS.length * BATCHES.length * Object.keys(THEIR_WAYS).length : 0;
const ours = [];
for (const batch of BATCHES) {
  for (const numbers of Object.keys(NUMBERS)) {
    ours.push(...(await fillOurs(numbers, batch)));
  }
}
const theirs = [];
if (llamaCpp) {
  makeTheirs();
  for (const numbers of THEIR_NUMBERS) {
    for (const batch of BATCHES) {
      for (const way of Object.keys(THEIR_WAYS)) {
        theirs.push(await fillTheirs(numbers, batch, way));
      }
    }
  }
}

// Tables

const held = (cells) => {
  const drafted = sum(cells, "drafted");
  return drafted ? Math.round((100 * sum(cells, "confirmed")) / drafted) : null;
};
const written = ours.filter(({way, batch}) => batch > 1 || way !== "full model");
const command = `node bench/lossless.mjs ${model}`;
const origin = {processor: cpus()[0].model, commit};
const columns = BATCHES.map((batch) => `${batch} at once`);
const tables = {
  drafters: {
    command,
    statistic: "Tokens that are not the full model's, which wrote one text at a time",
    ...origin,
    columns: ["written by", "tokens", "drafted a token", "held, %", "differ, greedy", "differ, drawn"],
    rows: Object.keys(WAYS).map((way) => {
      const cells = written.filter((cell) => cell.way === way);
      const [greedy, drawn] = TEMPERATURES.map((temperature) =>
        sum(cells.filter((cell) => cell.temperature === temperature), "different"),
      );
      const tokens = sum(cells, "tokens");
      return [way, tokens, Number((sum(cells, "drafted") / tokens).toFixed(2)), held(cells), greedy, drawn];
    }),
  },
  numbers: {
    command,
    statistic: "Tokens that are not the full model's, of all",
    ...origin,
    columns: ["numbers", ...columns],
    rows: Object.keys(NUMBERS).map((numbers) => [
      numbers,
      ...BATCHES.map((batch) => {
        const cells = written.filter((cell) => cell.numbers === numbers && cell.batch === batch);
        return `${sum(cells, "different")} of ${sum(cells, "tokens").toLocaleString("en")}`;
      }),
    ]),
  },
};
if (llamaCpp) {
  tables["llama-cpp"] = {
    command: `${command} llama.cpp`,
    statistic: `Greedy texts of ${TOKENS} tokens that llama.cpp changes, beside its own without drafts, one at a time`,
    ...origin,
    columns: ["numbers", "drafts", "held, %", ...columns],
    rows: THEIR_NUMBERS.flatMap((numbers) =>
      Object.keys(THEIR_WAYS).map((way) => {
        const cells = theirs.filter((cell) => cell.numbers === numbers && cell.way === way);
        return [numbers, way, held(cells), ...cells.map(({changed, batch}) => `${changed} of ${TEXTS[batch]}`)];
      }),
    ),
  };
}
writeFileSync(join(work, "results.json"), `${JSON.stringify({tables}, null, 2)}\n`);
console.log(`${sum(written, "different")} of ${sum(written, "tokens")} tokens differ; ${join(work, "results.json")}`);
