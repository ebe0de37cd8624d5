// A table of turns: node report.mjs TURNS.jsonl RESULTS.json LLAMA.CPP'S-VERSION COMMIT THREADS
import {readFileSync, writeFileSync} from "node:fs";
import {cpus, release, totalmem, type} from "node:os";

const [turns, results, version, commit, threads] = process.argv.slice(2);

function median(list) {
  const sorted = list.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const byWhat = new Map();
for (const line of readFileSync(turns, "utf8").trim().split("\n")) {
  const {what, ...rates} = JSON.parse(line);
  byWhat.set(what, [...(byWhat.get(what) ?? []), rates]);
}
const rows = [...byWhat].map(([what, all]) => ({
  what,
  llama_cpp: median(all.map((turn) => turn.llama_cpp)),
  eellm: median(all.map((turn) => turn.eellm)),
  ratio: median(all.map((turn) => turn.eellm / turn.llama_cpp)),
  turns: all,
}));
const report = {
  eellm: commit,
  llama_cpp: version,
  threads: Number(threads),
  machine: {
    processor: cpus()[0].model,
    cores: cpus().length,
    memory_bytes: totalmem(),
    system: `${type()} ${release()}`,
  },
  unit: "tokens per second",
  rows,
};
writeFileSync(results, `${JSON.stringify(report, null, 2)}\n`);

console.log(`tokens/s, ${threads} threads, medians of ${rows[0].turns.length} turns`);
console.log(`llama.cpp ${version}; eellm ${commit}; ${report.machine.processor}`);
console.log("");
console.log(`| ${"".padEnd(30)} | llama.cpp |  eellm | ratio |`);
console.log(`|${"-".repeat(32)}|----------:|-------:|------:|`);
for (const {what, llama_cpp, eellm, ratio} of rows) {
  const figures = [
    what.padEnd(30),
    llama_cpp.toFixed(1).padStart(9),
    eellm.toFixed(1).padStart(6),
    ratio.toFixed(2).padStart(5),
  ];
  console.log(`| ${figures.join(" | ")} |`);
}
