// Fresh processes: node bench/first-tokens.mjs PROCESSES MODEL PROMPT [EELLM ...]
//
// Starts each launcher EELLM, ./eellm if none is given, so many times in turns. Each process writes 230
// tokens by the full model. Prints medians, with the least and the most: seconds from the process's
// start to the first token; tokens/s of the ranges; and what tokens 21 to 30 reach of 151 to 230.
import {execFileSync, spawn} from "node:child_process";

const RANGES = [[1, 10], [11, 20], [21, 30], [31, 60], [101, 150], [151, 230]];
const EARLY = 2;
const LATE = 5;
const TOKENS = RANGES[LATE][1];

const [processes, model, prompt, ...launchers] = process.argv.slice(2);
if (!prompt || !(Number(processes) > 0)) {
  throw new Error("say how many processes, a model and a prompt: node bench/first-tokens.mjs 10 runs/quickstart 'x'");
}
if (launchers.length === 0) {
  launchers.push("./eellm");
}

function command(tokens) {
  return ["generate", "--model", model, "--prompt", prompt, "--max-tokens", `${tokens}`, "--mode", "full"];
}

// Bytes of the text after so many tokens.
function bytes(tokens) {
  const options = {encoding: "utf8", stdio: ["ignore", "pipe", "ignore"]};
  return Buffer.byteLength(JSON.parse(execFileSync(launchers[0], [...command(tokens), "--json"], options)).text);
}

// When how many bytes had come, in seconds from the process's start.
function run(launcher) {
  return new Promise((resolve, reject) => {
    const start = process.hrtime.bigint();
    const child = spawn(launcher, command(TOKENS), {stdio: ["ignore", "pipe", "ignore"]});
    const arrivals = [];
    let count = 0;
    child.stdout.on("data", (chunk) => {
      count += chunk.length;
      arrivals.push([Number(process.hrtime.bigint() - start) / 1e9, count]);
    });
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(arrivals) : reject(new Error(`${launcher} ended with ${code}`))));
  });
}

// When a token had come. Tokens that come together count as spread since those before.
function when(arrivals, tokens) {
  const i = arrivals.findIndex(([, count]) => count >= ends.get(tokens));
  const [before, had] = arrivals[Math.max(i - 1, 0)];
  const [then, has] = arrivals[i];
  return has === had ? then : before + ((then - before) * (ends.get(tokens) - had)) / (has - had);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function spread(values, digits) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}

const ends = new Map([...new Set(RANGES.flatMap(([from, to]) => [from - 1, to]))]
    .filter((tokens) => tokens > 0).map((tokens) => [tokens, bytes(tokens)]));
if (ends.get(TOKENS) <= ends.get(RANGES[LATE][0] - 1)) {
  throw new Error(`the text ends before ${TOKENS} tokens; give another prompt`);
}
const runs = new Map(launchers.map((launcher) => [launcher, []]));
for (let turn = 0; turn < Number(processes); turn++) {
  for (const launcher of launchers) {
    runs.get(launcher).push(await run(launcher));
  }
}
for (const [launcher, all] of runs) {
  const speeds = RANGES.map(([from, to]) => all.map((arrivals) => {
    const start = from === 1 ? arrivals[0][0] : when(arrivals, from - 1);
    return (to - Math.max(from - 1, 1)) / (when(arrivals, to) - start);
  }));
  const ratios = all.map((_, i) => speeds[EARLY][i] / speeds[LATE][i]);
  console.log(`${launcher}: first token ${spread(all.map((arrivals) => arrivals[0][0]), 2)} s`);
  RANGES.forEach(([from, to], i) => console.log(`  tokens ${from} to ${to}: ${spread(speeds[i], 0)} tokens/s`));
  console.log(`  tokens 21 to 30 beside 151 to 230: ${spread(ratios, 2)}`);
}
