// What grammars and drafts do to the speed of JSON: node bench/structured.mjs ROUNDS [MODEL]
//
// Without MODEL, first trains one in some minutes: sentences about made-up people, each with its JSON. A
// server then writes the JSON of new sentences, one at a time, in turns: held to a schema by the full model;
// held to it with drafts, forced tokens among them; with drafts but no schema. Then texts that a grammar
// holds to nothing (any characters), with the grammar and without, by the full model: what masks cost.
// Prints the median over rounds of tokens/s and of their ratios, with the least and the most, and how many
// texts differ with drafts: 0.
import {execFileSync, spawn} from "node:child_process";
import {existsSync, mkdtempSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {lines, people, SCHEMA} from "./people.mjs";

const [rounds, given] = process.argv.slice(2);
if (!(Number(rounds) > 0)) {
  throw new Error("say how many rounds: node bench/structured.mjs 5");
}
const eellm = process.env.EELLM ?? "./eellm";
const PEOPLE = 60_000;
const ASKED = 24;
const PORT = 8123;

function train(folder) {
  writeFileSync(join(folder, "people.jsonl"), lines(PEOPLE).join("\n"));
  const show = {stdio: ["ignore", "inherit", "inherit"]};
  const run = join(folder, "run");
  execFileSync(eellm, ["prepare", "--input", join(folder, "people.jsonl"), "--output", join(folder, "set"), "--vocab-size", "1024"], show);
  const data = [`data.sources=["${join(folder, "set")}"]`, `data.tokenizer=${join(folder, "set-tokenizer")}`];
  const sets = data.flatMap((setting) => ["--set", setting]);
  execFileSync(eellm, ["train", "--config", "configs/json-8m.yaml", ...sets, "--output", run], show);
  return run;
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
const range = (values, digits) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;

async function ask(prompt, fields) {
  const start = performance.now();
  const response = await fetch(`http://127.0.0.1:${PORT}/v1/completions`, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({prompt, temperature: 0, ...fields}),
  });
  const reply = await response.json();
  if (!response.ok) {
    throw new Error(JSON.stringify(reply));
  }
  return {text: reply.choices[0].text, tokens: reply.usage.completion_tokens, seconds: (performance.now() - start) / 1000};
}

const model = given ?? train(mkdtempSync(join(tmpdir(), "structured-")));
const server = spawn(eellm, ["serve", "--model", model, "--port", `${PORT}`], {stdio: ["ignore", "inherit", "inherit"]});
try {
  for (;;) {
    if (await fetch(`http://127.0.0.1:${PORT}/health`).then((r) => r.ok, () => false)) {
      break;
    }
    if (server.exitCode !== null) {
      throw new Error(`the server ended with ${server.exitCode}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const asked = Array.from({length: ASKED}, people(987654321)); // others
  const full = {early_exit: {mode: "full"}};
  const drafts = {early_exit: {mode: "speculative"}};
  const schema = {response_format: {type: "json_schema", json_schema: {name: "person", schema: SCHEMA}}, max_tokens: 120};
  const ways = {
    "schema, full model": {...schema, ...full},
    "schema, drafts": {...schema, ...drafts},
    "drafts, no schema": {max_tokens: 120, ...drafts},
    "full model": {max_tokens: 60, min_tokens: 60, ...full},
    "full model, any characters": {max_tokens: 60, min_tokens: 60, structured_outputs: {regex: "(.|\\n)*"}, ...full},
  };
  const speeds = new Map(Object.keys(ways).map((way) => [way, []]));
  let different = 0;
  let right = 0;
  for (let round = -1; round < Number(rounds); round++) {
    const texts = new Map();
    for (const [way, fields] of Object.entries(ways)) {
      const replies = [];
      for (const {sentence} of asked) {
        replies.push(await ask(sentence, fields));
      }
      texts.set(way, replies.map(({text}) => text));
      const sum = (key) => replies.reduce((all, reply) => all + reply[key], 0);
      if (round >= 0) {
        speeds.get(way).push(sum("tokens") / sum("seconds"));
      }
    }
    different += texts.get("schema, drafts").filter((text, i) => text !== texts.get("schema, full model")[i]).length;
    right = texts.get("schema, drafts").filter((text, i) => text === asked[i].json).length;
  }
  for (const [way, values] of speeds) {
    console.log(`${way.padEnd(28)} ${range(values, 0)} tokens/s`);
  }
  const ratio = (a, b) => range(speeds.get(a).map((value, i) => value / speeds.get(b)[i]), 2);
  console.log(`schema: drafts / full model  ${ratio("schema, drafts", "schema, full model")}`);
  console.log(`any characters / no grammar  ${ratio("full model, any characters", "full model")}`);
  console.log(`${different} of ${rounds} + 1 rounds' texts differ with drafts; ${right} of ${ASKED} are the sentence's`);
} finally {
  server.kill();
}
