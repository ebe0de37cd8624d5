// A chat format in five minutes: node bench/chats.mjs MODEL DATASET
//
// MODEL, a run of quickstart's size with exits 2 and 4, learns without them from DATASET and from made-up chats: a
// sentence about a person, answered by JSON. Prints how many of 100 answers about new people have the format, and how
// many the facts; and how often a new exit agrees with the final head on held-out answers, tuned on chats and on DATASET.
import {execFileSync} from "node:child_process";
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {join, resolve} from "node:path";
import {people} from "./people.mjs";

const TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }} ; {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
const CONFIG = `
train: {steps: 1000, micro_batch_size: 4, global_batch_size: 4, eval_interval: 1000}
optimizer: {algorithm: muon, learning_rate: 4e-3, muon_learning_rate: 2e-3, min_learning_rate: 2e-4, warmup_steps: 15, weight_decay: 0.1}
`;
const ASKED = 100;
const FORMAT =
  /^{"full_name":"[A-Z][a-z]+ [A-Z][a-z]+","age_in_years":\d+,"address":{"street_number":\d+,"city":"[A-Z][a-z]+"},"hobbies":\["[a-z]+"(,"[a-z]+")?],"is_member":(true|false)} ;/;

const [model, dataset] = process.argv.slice(2);
if (!dataset) {
  throw new Error("say which model and dataset: node bench/chats.mjs runs/quickstart runs/quickstart/data/java");
}
const folder = mkdtempSync(join(tmpdir(), "chats-"));
const at = (name) => join(folder, name);

function eellm(...words) {
  return execFileSync(process.env.EELLM ?? "./eellm", words, {encoding: "utf8", stdio: ["ignore", "pipe", "pipe"]});
}

function prepare(name, chats) {
  const lines = chats.map(({sentence, json}) => JSON.stringify({prompt: sentence.trim(), completion: json}));
  writeFileSync(at(`${name}.jsonl`), `${lines.join("\n")}\n`);
  eellm("prepare", "--input", at(`${name}.jsonl`), "--output", at(name), "--tokenizer", at("model"));
}

// Settings that follow --set each.
function settings(values) {
  return Object.entries({
    "data.validation": `[${at("held")}]`,
    "data.tokenizer": at("model"),
    "data.sequence_length": 256,
    "data.attend_across_documents": false,
    "train.eval_batches": 16,
    ...values,
  }).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
}

function tuned(name, source) {
  const values = {"data.sources": `[${source}]`, "train.steps": 200, "train.micro_batch_size": 8, "train.global_batch_size": 8, "train.eval_interval": 200};
  eellm("tune", "--model", at("exits"), "--preset", "tune-chat", "--output", at(name), ...settings(values));
  const lines = readFileSync(join(at(name), "metrics.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  return lines.findLast((line) => "validation_agreement_exit_2" in line).validation_agreement_exit_2;
}

try {
  eellm("add-exits", "--model", model, "--remove", "2,4", "--output", at("model"));
  writeFileSync(join(at("model"), "chat_template.jinja"), TEMPLATE);
  const learned = Array.from({length: 20_000}, people(12345));
  const known = new Set(learned.map(({sentence}) => sentence));
  const others = Array.from({length: 1_000}, people(67)).filter(({sentence}) => !known.has(sentence));
  prepare("chats", learned);
  prepare("held", others);

  const start = performance.now();
  writeFileSync(at("train.yaml"), CONFIG);
  const mixed = {"data.sources": `[{path: ${at("chats")}, weight: 4}, {path: ${resolve(dataset)}, weight: 1}]`};
  eellm("train", "--model", at("model"), "--config", at("train.yaml"), "--output", at("trained"), ...settings(mixed));
  console.log(`trained in ${((performance.now() - start) / 1000).toFixed(0)} s`);

  const asked = others.slice(0, ASKED);
  writeFileSync(at("asked.txt"), asked.map(({sentence}) => `[user] ${sentence.trim()} ; [assistant]\n`).join(""));
  const answers = eellm("generate", "--model", at("trained"), "--prompt-file", at("asked.txt"), "--max-tokens", "120", "--json");
  const texts = answers.trim().split("\n").map((line) => JSON.parse(line).text.trim());
  const format = texts.filter((text) => FORMAT.test(text)).length;
  const right = texts.filter((text, i) => text.startsWith(`${asked[i].json} ;`)).length;
  console.log(`of ${ASKED} new people's answers ${format} keep the format, ${right} are right in all`);
  console.log(`such as ${texts[0]}`);

  eellm("add-exits", "--model", at("trained"), "--exits", "2", "--head", "norm,mlp", "--output", at("exits"));
  const onChats = tuned("on-chats", at("chats"));
  const onText = tuned("on-text", resolve(dataset));
  console.log(`agreement of exit 2 on answers: ${onChats.toFixed(3)} tuned on chats, ${onText.toFixed(3)} tuned on ${dataset}`);
} finally {
  rmSync(folder, {recursive: true});
}
