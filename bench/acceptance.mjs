// Counts how often drafts hold, by their place in a draft: of each exit, a draft head and texts, all in drafts
// of six tokens, so that no clock decides. Run from the project's root:
//
//   node bench/acceptance.mjs MODEL
//
// MODEL is a folder with exits; a draft head and a table draft where they lie beside it. Texts go on behind the
// declarations of this project's methods, behind its prose and amid its tables, greedily and drawn. It prints the
// rows of a table, in which a share is of the drafts before which all others of the same draft held.
// EELLM=... takes another program than ./eellm.
import {spawn} from "node:child_process";
import {existsSync, mkdirSync, openSync, readdirSync, readFileSync} from "node:fs";
import {join} from "node:path";
import {awaitServer} from "./llama-cpp/server.mjs";

const model = process.argv[2];
if (!model || !existsSync(join(model, "config.json"))) {
  throw new Error(`'${model}' is no model's folder: node bench/acceptance.mjs MODEL`);
}
const eellm = process.env.EELLM ?? "./eellm";
const URL = "http://127.0.0.1:8125";
const LENGTH = 6; // of drafts
const TEXTS = 16;
const TOKENS = 100; // of a text
const PROMPT = 150; // characters, each of which may be a token
const SHOWN = [1, 3, 6]; // places in a draft

// The text up to the end of some lines, far apart.
function prompts(folder, files, line) {
  const all = readdirSync(folder, {recursive: true})
    .filter((name) => files.test(name))
    .sort()
    .flatMap((name) => {
      const text = readFileSync(join(folder, name), "utf8");
      return [...text.matchAll(line)].map((match) => text.slice(0, match.index + match[0].length).slice(-PROMPT));
    });
  return Array.from({length: TEXTS}, (_, i) => all[Math.floor((i * all.length) / TEXTS)]);
}

const KINDS = {
  methods: prompts("eellm-core/src/main/java", /\.java$/, /^ {2}\S.*\) \{\n/gm),
  prose: prompts("docs", /^[a-z-]+\.md$/, /^[A-Z].{40,}\n/gm),
  tables: prompts("docs/reports", /\.md$/, /^\| .*\n/gm),
};

const {early_exit: exits} = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
const fixed = {draft_length: LENGTH, draft_margin: 0};
const ways = {};
for (const layer of exits.layers) {
  ways[`exit ${layer}`] = {draft_exit: layer, ...fixed};
}
if (existsSync(join(model, "draft_head.json"))) {
  ways["draft head"] = {draft_source: "head", ...fixed};
}
ways["the text itself"] = {draft_source: "prompt", draft_memory: "own", ...fixed};
if (existsSync(join(model, "draft_table.safetensors"))) {
  ways["counted table"] = {draft_source: "table", draft_memory: "own", ...fixed};
}
ways["recycled table"] = {draft_source: "recycled", ...fixed};

async function drafts(prompt, temperature, seed, way) {
  const body = {prompt, temperature, seed, max_tokens: TOKENS, ignore_eos: true};
  const response = await fetch(`${URL}/v1/completions`, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({...body, early_exit: {mode: "speculative", per_token: true, ...way}}),
  });
  const reply = await response.json();
  if (!response.ok) {
    throw new Error(JSON.stringify(reply));
  }
  return reply.choices[0].drafts ?? [];
}

mkdirSync("target", {recursive: true});
const log = openSync("target/acceptance.log", "a");

// A server of its own: tables and texts of one are not another's.
async function count(kind, temperature) {
  const server = spawn(eellm, ["serve", "--model", model, "--port", "8125"], {stdio: ["ignore", log, log]});
  const over = new Promise((resolve) => server.once("exit", resolve));
  try {
    await awaitServer(URL);
    const rows = {};
    for (const [name, way] of Object.entries(ways)) {
      const asked = Array(LENGTH).fill(0);
      const held = Array(LENGTH).fill(0);
      for (const [seed, prompt] of KINDS[kind].entries()) {
        for (const {tokens, accepted} of await drafts(prompt, temperature, seed, way)) {
          for (let at = 0; at < Math.min(tokens.length, accepted + 1); at++) {
            asked[at]++;
            held[at] += at < accepted ? 1 : 0;
          }
        }
      }
      rows[name] = {drafts: asked[0], shares: asked.map((all, at) => (all > 0 ? Math.round((100 * held[at]) / all) : null))};
    }
    return rows;
  } finally {
    server.kill();
    await over;
  }
}

for (const temperature of [0, 0.8]) {
  const counted = {};
  for (const kind of Object.keys(KINDS)) {
    counted[kind] = await count(kind, temperature);
  }
  console.log(`temperature ${temperature}: of ${Object.keys(KINDS).join(", ")} drafts, and % that hold at ${SHOWN.join(", ")}`);
  for (const name of Object.keys(ways)) {
    const cells = Object.keys(KINDS).map((kind) => {
      const {drafts: all, shares} = counted[kind][name];
      return [all, SHOWN.map((place) => shares[place - 1] ?? "–").join(" / ")];
    });
    console.log(JSON.stringify([name, ...cells.flat()]));
  }
}
