// What was planned for two ranks beside what they do: node bench/plan.mjs HARDWARE ROUNDS [SECTION.KEY=VALUE ...]
//
// HARDWARE is this machine's profile, from ./eellm doctor --profile FILE --nproc 2. Plans and runs the model of
// configs/30m.yaml, with the settings given, as stages, as stages with zero bubble, as replicas and as
// tensor-parallel ranks, each with its exits and without. Each run is an ./eellm bench train --mesh-only.
import {execFileSync} from "node:child_process";
import {availableParallelism} from "node:os";

const MESHES = {
  "pp 2": ["parallel.pp=2", "train.micro_batch_size=1"],
  "pp 2, zero bubble": ["parallel.pp=2", "parallel.schedule=zero_bubble", "train.micro_batch_size=1"],
  "dp 2": ["parallel.dp=2", "train.micro_batch_size=4"],
  "tp 2": ["parallel.tp=2", "train.micro_batch_size=4"],
};
const WITHOUT_EXITS = ["exits.layers=[]", "exits.weights=[]"];

const [hardware, rounds, ...given] = process.argv.slice(2);
if (!(Number(rounds) > 0)) {
  throw new Error("say the machine's profile and how many rounds: node bench/plan.mjs this-machine.yaml 5");
}

function eellm(...words) {
  return JSON.parse(execFileSync("./eellm", [...words, "--json"], {encoding: "utf8", stdio: ["ignore", "pipe", "inherit"]}));
}

function error(planned, measured) {
  const percent = Math.round(100 * (planned / measured - 1));
  return `${percent < 0 ? "" : "+"}${percent} %`;
}

function megabytes(bytes) {
  return `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
}

console.log("| parameters | mesh | exits | step | planned | | memory of the fullest rank | planned | |");
console.log("|---|---|---|---|---|---|---|---|---|");
for (const [mesh, settings] of Object.entries(MESHES)) {
  for (const exits of [[], WITHOUT_EXITS]) {
    const threads = Math.max(1, Math.floor(availableParallelism() / 2));
    const all = [...given, `train.threads=${threads}`, "train.global_batch_size=8", ...settings, ...exits];
    const words = ["--config", "configs/30m.yaml", ...all.flatMap(setting => ["--set", setting])];
    const {run: plan} = eellm("plan", "--hardware", hardware, ...words);
    const run = eellm("bench", "train", "--nproc", "2", "--mesh-only", "--rounds", rounds, ...words);
    const seconds = run.measured.step_seconds;
    const measured = Math.max(...run.memory);
    const planned = Math.max(...plan.stages.map(stage => stage.memory_total));
    console.log(`| ${(run.parameters / 1e6).toFixed(1)} M | ${mesh} | ${plan.exits.join(", ") || "none"}`
      + ` | ${seconds.toFixed(3)} s | ${plan.step_seconds.toFixed(3)} s | ${error(plan.step_seconds, seconds)}`
      + ` | ${megabytes(measured)} | ${megabytes(planned)} | ${error(planned, measured)} |`);
  }
}
