// What drafts that need no training gain: node bench/llama-cpp/drafts.mjs MODEL LLAMA_CPP SOURCES ROUNDS
//
// MODEL is a folder without exits, draft head and table; SOURCES a folder of Java files that it never saw;
// LLAMA_CPP has build/bin in it. Both programs get the same weights in float32 and two threads. In turns, one
// text at a time, each continues with its drafts and without: 16 class beginnings of one shape, greedily (64
// tokens), and 24 methods' first lines at temperature 1 (96 tokens), others in each round. Prints the median
// over rounds of each program's speed with drafts over its own without, with the least and the most.
import {execFileSync, spawn} from "node:child_process";
import {mkdtempSync, openSync, readdirSync, readFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {awaitServer} from "./server.mjs";

const [model, llamaCpp, sources, rounds] = process.argv.slice(2);
if (!(Number(rounds) > 0)) {
  throw new Error("say what with what: node bench/llama-cpp/drafts.mjs MODEL LLAMA_CPP SOURCES 5");
}
const eellm = process.env.EELLM ?? "./eellm";
const work = mkdtempSync(join(tmpdir(), "drafts-"));
const NAMES = ["User", "Order", "Account", "Invoice", "Product", "Customer", "Payment", "Address"];
const KINDS = ["", "View", "Model", "Entity", "Record", "Data", "Info", "Form", "Key", "Item"];
const FIELDS = ["name", "id", "count", "value", "type", "status", "date", "owner"];
const lines = readdirSync(sources, {recursive: true})
  .filter((name) => name.endsWith(".java"))
  .sort()
  .flatMap((name) => readFileSync(join(sources, name), "utf8").split("\n"))
  .filter((line) => /^ {4}(public|private|protected) .*\) \{$/.test(line));
const line = (at) => lines[Math.floor((at * lines.length * 0.618034) % lines.length)];
const TEXTS = {
  "class beginnings, greedy": {
    prompt: (round, i) =>
      `public class ${NAMES[i % 8]}${KINDS[(2 * round + (i >> 3)) % 10]} {\n` +
      `    private final String ${FIELDS[(i * 3 + round) % 8]};\n\n    public String get`,
    count: 16,
    temperature: 0,
    tokens: 64,
  },
  "methods' first lines, temperature 1": {
    prompt: (round, i) => `${line(24 * round + i)}\n`,
    count: 24,
    temperature: 1,
    tokens: 96,
  },
};
// The default comes first, so that it cannot draft from the same text of another way.
const WAYS = {
  "eellm, own and other texts": {mode: "speculative"},
  "eellm, own text": {mode: "speculative", draft_memory: "own"},
  eellm: {mode: "full"},
  "llama.cpp, n-grams of all texts": ["--spec-type", "ngram-mod"],
  "llama.cpp, n-grams": ["--spec-type", "ngram-simple"],
  "llama.cpp": [],
};

async function speed(way, url, round, {prompt, count, temperature, tokens}) {
  const own = Array.isArray(WAYS[way]) ? {cache_prompt: false} : {early_exit: WAYS[way]};
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const sampling = {prompt: prompt(round, i), temperature, seed: i, max_tokens: tokens, ignore_eos: true};
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({...sampling, ...own}),
    });
    const reply = await response.json();
    if (!response.ok || reply.usage.completion_tokens !== tokens) {
      throw new Error(`${way}: ${JSON.stringify(reply)}`);
    }
  }
  return (count * tokens * 1000) / (performance.now() - start);
}

const gguf = join(work, "model.gguf");
execFileSync(eellm, ["export", "--model", model, "--format", "gguf", "--dtype", "float32", "--output", gguf]);
const log = openSync(join(work, "servers.log"), "a");
const servers = [];
const start = (command, args) => servers.push(spawn(command, args, {stdio: ["ignore", log, log]}));
const urls = {};
try {
  let port = 8130;
  start(eellm, ["serve", "--model", model, "--dtype", "float32", "--threads", "2", "--port", `${port}`]);
  for (const [way, options] of Object.entries(WAYS)) {
    urls[way] = `http://127.0.0.1:${Array.isArray(options) ? ++port : 8130}`;
    if (Array.isArray(options)) {
      const common = ["-m", gguf, "-t", "2", "-tb", "2", "-np", "1", "--port", `${port}`];
      start(join(llamaCpp, "build/bin/llama-server"), [...common, ...options]);
    }
  }
  for (const url of new Set(Object.values(urls))) {
    await awaitServer(url);
  }
  for (const [name, texts] of Object.entries(TEXTS)) {
    const speeds = Object.fromEntries(Object.keys(WAYS).map((way) => [way, []]));
    for (let round = 0; round <= Number(rounds); round++) {
      for (const way of Object.keys(WAYS)) {
        const rate = await speed(way, urls[way], round, texts);
        if (round > 0) {
          speeds[way].push(rate);
        }
      }
    }
    for (const [way, rates] of Object.entries(speeds)) {
      const own = speeds[way.split(",")[0]];
      const middle = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
      const ratios = rates.map((rate, i) => rate / own[i]);
      const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
      console.log(`${name}: ${way}: ${middle(rates).toFixed(0)} tokens/s, ${middle(ratios).toFixed(2)} (${spread})`);
    }
  }
} finally {
  servers.forEach((server) => server.kill());
}
